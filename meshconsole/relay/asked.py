"""The half of the embedded event store that answers questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from meshconsole.relay.filter import Filter
    from meshconsole.relay.questions import Questions
    from meshconsole.relay.store import Answer, FeedRow, Item, Page, Selection, Tally


class AskedHalf:
    """As `EventStore` and `PromptStore` say. The store sets `_asked`."""

    _asked: Questions

    def known(self, ids: Collection[str]) -> set[str]:
        return self._asked.known(ids)

    def settled(self, ids: Collection[str]) -> set[str]:
        return self._asked.settled(ids)

    def select(self, filters: Sequence[Filter], cap: int) -> Selection:
        return self._asked.select(filters, cap)

    def fetch(self, keys: Sequence[int]) -> list[bytes]:
        return self._asked.fetch(keys)

    def answer(self, filters: Sequence[Filter], cap: int, size: int) -> Answer:
        return self._asked.answer(filters, cap, size)

    def answer_now(self, filters: Sequence[Filter], cap: int, size: int) -> Answer | None:
        return self._asked.answer_now(filters, cap, size)

    def query(self, filters: Sequence[Filter], limit: int) -> list[bytes]:
        return self._asked.query(filters, limit)

    def get(self, ids: Sequence[str]) -> list[bytes]:
        return self._asked.get(ids)

    def tally(self, filters: Sequence[Filter], cap: int) -> Tally:
        return self._asked.tally(filters, cap)

    def registers(self, wanted: Filter, offset: int) -> bytes:
        return self._asked.registers(wanted, offset)

    def items(self, wanted: Filter, cap: int) -> list[Item]:
        return self._asked.items(wanted, cap)

    def scan(self, filters: Sequence[Filter], after: int | None, count: int) -> Page:
        return self._asked.scan(filters, after, count)

    def feed(self, after_seq: int, limit: int) -> list[FeedRow]:
        return self._asked.feed(after_seq, limit)
