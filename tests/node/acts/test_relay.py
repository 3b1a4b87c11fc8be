from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from meshconsole.control import messages as m
from meshconsole.control import relay as r
from meshconsole.control.config import GetConfig
from meshconsole.core.errors import Fatal, Refused
from meshconsole.core.kinds import MEMBERS, ROSTER_ENTRY
from meshconsole.core.sections import RelaySection
from meshconsole.node.acts.relay import RelayActs
from meshconsole.node.listbook import ListBook
from meshconsole.node.managing import Managing
from meshconsole.node.state import NodeState
from meshconsole.relay.relay import Relay
from meshconsole.relay.sqlite import SqliteEventStore
from tests.relay.making import KEY, NOW, TAG_KEY, Clock, Public, npub, raw, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.node.ground import Ground

ROSTER = signed("alice", kind=ROSTER_ENTRY, content="roster", created_at=NOW - 200)
MEMBERS_LIST = signed("relay", kind=MEMBERS, created_at=NOW - 199)
OURS = [signed("alice", content=f"ours {n}", created_at=NOW - 100 + n) for n in range(5)]
THEIRS = [signed("mallory", kind=7, content=f"theirs {n}", created_at=NOW - 90 + n) for n in range(5)]


class Around:
    """As much of a node as these acts touch, over a real store."""

    def __init__(self, folder: Path, store: SqliteEventStore, relay: Relay) -> None:
        self.store, self.relay = store, relay
        self.state = NodeState(folder / "state.db", KEY)
        self.identity = SimpleNamespace(npub=npub("alice"))
        self.membership = SimpleNamespace(team=None)
        self.recorded: list[tuple[str, dict[str, str]]] = []
        self.lists = ListBook(self.state)
        self.managing = Managing(
            book=self.lists,
            state=self.state,
            relay=relay,
            may_manage={npub("alice")}.__contains__,
            takes_two=lambda: False,
            record=self.record,
            changed=lambda lists: None,
            clock=Clock(),
        )

    def record(self, act: str, **detail: str) -> None:
        self.recorded.append((act, detail))


@asynccontextmanager
async def around(folder: Path) -> AsyncIterator[tuple[Around, RelayActs]]:
    store = SqliteEventStore(folder / "node.db", KEY, TAG_KEY, clock=Clock())
    relay = Relay(store, access=Public(), emit=lambda _: None, config=RelaySection(), clock=Clock())
    await relay.start()
    node = Around(folder, store, relay)
    await relay.publish_many([ROSTER, *OURS, *THEIRS])
    store.add([MEMBERS_LIST])
    try:
        yield node, RelayActs(cast("Ground", node))
    finally:
        await relay.stop()
        node.state.close()
        store.close()


def nothing(have: int, total: int | None, words: str = "") -> None:
    return None


async def data(acts: RelayActs, command: m.Command) -> Any:  # noqa: ANN401
    reply = await acts.handle(command, nothing)
    assert reply is not None
    return reply.or_raise().data


async def removed(acts: RelayActs, command: m.Command) -> list[tuple[str, int]]:
    return [(row.name, row.count) for row in (await data(acts, command)).classes]


async def test_a_walk_in_pages(tmp_path: Path) -> None:
    async with around(tmp_path) as (_, acts):
        found: list[bytes] = []
        page = r.PageData((), None)
        while True:
            page = await data(acts, r.ScanRelay('{"kinds":[1]}', page.after, 2))
            found += page.events
            if page.after is None:
                break
        assert found == [raw(event) for event in OURS]


@pytest.mark.parametrize("text", ["{", "[]", '{"kinds":"1"}', '{"nonsense":[1]}', "null"])
async def test_filters_that_are_none(tmp_path: Path, text: str) -> None:
    async with around(tmp_path) as (node, acts):
        for command in (r.ScanRelay(text), r.DeleteFromRelay(text, dry_run=False)):
            with pytest.raises(Refused):
                await acts.handle(command, nothing)
        assert node.store.count() == 12


async def test_deleting_is_tried_first_and_recorded(tmp_path: Path) -> None:
    async with around(tmp_path) as (node, acts):
        assert await removed(acts, r.DeleteFromRelay('{"kinds":[7]}', dry_run=True)) == [("matching", 5)]
        assert node.store.count() == 12
        assert not node.recorded
        assert await removed(acts, r.DeleteFromRelay('{"kinds":[7]}', dry_run=False)) == [("matching", 5)]
        assert node.store.count() == 7
        assert node.recorded == [("relay-delete", {"filter": '{"kinds":[7]}', "events": "5"})]


async def test_the_teams_own_order_is_never_deleted(tmp_path: Path) -> None:
    async with around(tmp_path) as (node, acts):
        with pytest.raises(Refused, match="roster"):
            await acts.handle(r.DeleteFromRelay(f'{{"kinds":[{ROSTER_ENTRY}]}}', dry_run=False), nothing)
        with pytest.raises(Refused):
            await acts.handle(r.DeleteFromRelay(" ", dry_run=False), nothing)
        assert await removed(acts, r.DeleteFromRelay("{}", dry_run=False)) == [("matching", 11)]
        assert node.store.get([ROSTER.id]) == [raw(ROSTER)]


async def test_room_is_made_by_others_events_first(tmp_path: Path) -> None:
    async with around(tmp_path) as (node, acts):
        need = sum(len(raw(event)) for event in THEIRS[:3])
        rows = dict(await removed(acts, r.EvictFromRelay(need, dry_run=True)))
        assert rows["others' events"] == 3
        assert node.store.count() == 12
        await removed(acts, r.EvictFromRelay(need, dry_run=False))
        assert not node.store.get([event.id for event in THEIRS[:3]])
        assert len(node.store.get([event.id for event in OURS])) == 5
        await removed(acts, r.EvictFromRelay(1 << 40, dry_run=False))
        assert node.store.get([ROSTER.id]) == [raw(ROSTER)], "control events stay, whatever is wanted"
        assert node.store.get([MEMBERS_LIST.id]) == [raw(MEMBERS_LIST)]
        assert node.store.count() == 2
        assert [act for act, _ in node.recorded] == ["relay-evict"] * 2


async def test_the_owner_bans_and_allows_as_admins_do(tmp_path: Path) -> None:
    async with around(tmp_path) as (node, acts):
        stranger, note = "ab" * 32, THEIRS[0]
        await data(acts, r.ChangeRelayLists("banpubkey", stranger, "spam"))
        await data(acts, r.ChangeRelayLists("disallowkind", "7"))
        lists = await data(acts, r.ChangeRelayLists("banevent", note.id))
        assert (lists.banned_keys, lists.disallowed_kinds) == ({stranger: "spam"}, (7,))
        assert not node.store.get([note.id])
        await data(acts, r.ChangeRelayLists("unbanpubkey", stranger))
        assert (await data(acts, r.ShowRelayLists())).banned_keys == {}
        for act, subject in (("banpubkey", npub("alice")), ("allowkind", "-1"), ("banevent", ROSTER.id)):
            with pytest.raises(Refused):
                await acts.handle(r.ChangeRelayLists(act, subject), nothing)  # type: ignore[arg-type]
        me = npub("alice")
        assert node.recorded[0] == ("relay-banpubkey", {"by": me, "subject": stranger})
        assert len(node.recorded) == 4


async def test_a_backup_is_a_store(tmp_path: Path) -> None:
    async with around(tmp_path) as (node, acts):
        copy = tmp_path / "copy.db"
        await acts.handle(r.BackUpRelay(str(copy)), nothing)
        opened = SqliteEventStore(copy, KEY, TAG_KEY, clock=Clock())
        assert opened.count() == 12
        opened.close()
        with pytest.raises(Fatal, match="exists"):
            await acts.handle(r.BackUpRelay(str(copy)), nothing)
        assert node.recorded == [("relay-backup", {"file": str(copy)})]


async def test_carrying_and_giving_back(tmp_path: Path) -> None:
    async with around(tmp_path) as (node, acts):
        file = tmp_path / "some.jsonl"
        assert (await data(acts, r.Export(str(file), '{"kinds":[7]}'))).counts == {"exported": 5}
        await acts.handle(r.DeleteFromRelay('{"kinds":[1]}', dry_run=False), nothing)
        assert (await data(acts, r.Import(str(file)))).counts == {"new": 0, "already here": 5}
        counts = (await data(acts, r.VacuumRelay())).counts
        assert counts["bytes now"] == node.store.usage().bytes
        assert await acts.handle(GetConfig(), nothing) is None
