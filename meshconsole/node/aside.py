"""Events that came too early: their author may not have written them, as far as the roster is known here.

They are neither stored nor passed on. Whenever the roster or the keys have changed, those that may be taken
by now are offered to the relay again. What is dropped here for want of room, or by a restart, is not lost: a
teammate that holds it offers it again when the two meet anew and compare their stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from meshconsole.relay.policy import NOT_YET

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.event import Event
    from meshconsole.core.verdict import Verdict
    from meshconsole.relay.relay import RefusedEvent, Relay

MAX_HELD = 2048
MAX_HELD_BYTES = 4 << 20
MAX_HELD_BY_AUTHOR = 512
"""More than a link brings at once: a newcomer's notes may come in one batch with the entry that admits it."""


class Held(NamedTuple):
    event: Event
    via: str
    size: int


class Aside:
    """`judge` says what the roster makes of an event now."""

    def __init__(self, relay: Relay, judge: Callable[[Event], Verdict]) -> None:
        self._relay = relay
        self._judge = judge
        self._held: dict[str, Held] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def keep(self, refused: RefusedEvent) -> bool:
        """Whether it is kept, as one that was refused for now."""
        event = refused.event
        if refused.verdict is not NOT_YET or event is None:
            return False
        if event.id not in self._held:
            self._held[event.id] = Held(event, refused.via, refused.size)
            self._bytes += refused.size
            own = [held.event.id for held in self._held.values() if held.event.pubkey == event.pubkey]
            for event_id in own[:-MAX_HELD_BY_AUTHOR]:
                self._drop(event_id)
            while len(self._held) > MAX_HELD or self._bytes > MAX_HELD_BYTES:
                self._drop(next(iter(self._held)))
        return True

    async def offer_again(self) -> None:
        """After the roster has changed."""
        ready = [held for held in self._held.values() if self._judge(held.event) is not NOT_YET]
        by_way: dict[str, list[Event]] = {}
        for held in ready:
            self._drop(held.event.id)
            by_way.setdefault(held.via, []).append(held.event)
        for via, events in by_way.items():
            await self._relay.publish_many(events, via=via, trusted=True)

    def _drop(self, event_id: str) -> None:
        self._bytes -= self._held.pop(event_id).size
