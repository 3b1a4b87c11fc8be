"""Nodes that tell each other what they hold and keep copies, over content stores that are linked by wires."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from meshconsole.content.replication import Targets
from meshconsole.content.store.roots import OWNER, TEAM, Pin
from meshconsole.core.verdict import ACCEPTED, Verdict
from meshconsole.node.replicating import Replicating
from tests.content.conftest import World
from tests.content.wire import Wire, wired
from tests.team.devices import NOW, Device, founder, identity, join

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from meshconsole.content.service import Content
    from meshconsole.core.event import Event

HOUR_S = 3600.0


class Crowd:
    """Devices of one team; all hear what each of them says."""

    def __init__(self) -> None:
        self.now = float(NOW)
        self.targets = Targets(2, 0, 24 * HOUR_S)
        self.devices: dict[str, Device] = {}
        self.worlds: dict[str, World] = {}
        self.contents: dict[str, Content] = {}
        self.nodes: dict[str, Replicating] = {}
        self.there: set[str] = set()
        self.said: list[Event] = []
        self.changed: list[str] = []

    async def publish(self, event: Event) -> Verdict:
        self.said.append(event)
        for node in self.nodes.values():
            node.learn(event)
        return ACCEPTED

    def npub(self, name: str) -> str:
        return self.devices[name].npub

    async def update(self, *names: str) -> None:
        for name in names or sorted(self.there):
            await self.nodes[name].update()

    async def settle(self) -> None:
        """Everybody looks, copies come, everybody looks again."""
        for _ in range(3):
            await self.update()
            for content in self.contents.values():
                for job in content.jobs():
                    _ = [progress async for progress in content.fetch(job.cid)]

    def here(self, cid: str) -> list[str]:
        names = {device.npub: name for name, device in self.devices.items()}
        return sorted(names[npub] for npub in self.nodes["a"].copies(cid).here)


@asynccontextmanager
async def crowd(path: Path, *, gives: str = "abc") -> AsyncIterator[Crowd]:
    team = Crowd()
    async with AsyncExitStack() as stack:
        alpha = founder()
        team.devices = {"a": alpha, "b": join(alpha, "bravo"), "c": join(alpha, "relay", "relay")}
        for name, device in team.devices.items():
            world = team.worlds[name] = World(path / name)
            team.contents[name] = await stack.enter_async_context(world.content())
            team.there.add(name)
            team.nodes[name] = Replicating(
                content=team.contents[name],
                identity=device.me,
                team=lambda: alpha.team,
                publish=team.publish,
                linked=lambda name=name: [team.npub(other) for other in team.there if other != name],  # type: ignore[misc]
                targets=lambda: team.targets,
                room=lambda: 1 << 30,
                changed=team.changed.append,
                clock=lambda: team.now,
                gives=lambda name=name: name in gives,  # type: ignore[misc]
            )
        a, b, c = team.contents.values()
        await stack.enter_async_context(
            wired(Wire(a, b, "a", "b"), Wire(a, c, "a", "c"), Wire(b, c, "b", "c"))
        )
        yield team


async def test_under_pressure_copies_wait_and_are_made_afterwards(tmp_path: Path) -> None:
    async with crowd(tmp_path) as team:
        added = await team.contents["a"].add([b"x" * 5000], "file")
        for node in team.nodes.values():
            node._must_wait = lambda: True
        await team.update()
        await team.settle()
        assert team.here(added.cid) == ["a"]
        for node in team.nodes.values():
            node._must_wait = lambda: False
        await team.update()
        await team.settle()
        assert len(team.here(added.cid)) == 2


async def test_where_the_owner_stops_giving_nobody_counts_on_what_is_held(tmp_path: Path) -> None:
    async with crowd(tmp_path) as team:
        added = await team.contents["a"].add([b"x" * 5000], "file")
        await team.settle()
        assert len(team.here(added.cid)) == 2
        holder = next(name for name in team.here(added.cid) if name != "a")
        team.nodes[holder]._gives = lambda: False
        await team.update(holder)
        assert team.here(added.cid) == ["a"], "said at once, not after the grace"
        said = len(team.said)
        await team.update(holder)
        assert len(team.said) == said
        team.nodes[holder]._gives = lambda: True
        await team.update(holder)
        assert team.here(added.cid) == sorted(["a", holder])


async def test_a_copy_is_made_and_everybody_knows_where(tmp_path: Path) -> None:
    async with crowd(tmp_path) as team:
        added = await team.contents["a"].add([b"x" * 5000], "file")
        await team.update()
        await team.settle()
        here = team.here(added.cid)
        assert len(here) == 2
        assert here[0] == "a"
        (copier,) = set(here) - {"a"}
        assert team.contents[copier].is_pinned(added.cid, TEAM)
        assert not team.contents[copier].is_pinned(added.cid, OWNER)
        for node in team.nodes.values():
            assert node.copies(added.cid) == team.nodes["a"].copies(added.cid)
            assert node.short() == 0
        assert added.cid in team.changed
        said = len(team.said)
        await team.settle()
        assert len(team.said) == said  # nothing new, so nothing is said

        await team.contents["a"].unpin(added.cid)
        await team.settle()
        assert not team.contents[copier].is_pinned(added.cid)


async def test_an_hour_away_moves_nothing_and_a_day_does(tmp_path: Path) -> None:
    async with crowd(tmp_path) as team:
        added = await team.contents["a"].add([b"x" * 5000], "file")
        await team.settle()
        (copier,) = set(team.here(added.cid)) - {"a"}
        (other,) = {"b", "c"} - {copier}
        team.there.discard(copier)
        team.now += HOUR_S
        await team.settle()
        assert not team.contents[other].is_pinned(added.cid)
        team.now += 24 * HOUR_S
        await team.settle()
        assert team.contents[other].is_pinned(added.cid, TEAM)
        assert team.here(added.cid) == sorted(["a", other])
        assert team.nodes["a"].copies(added.cid).away == (team.npub(copier),)


async def test_who_gives_nothing_says_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    async with crowd(tmp_path, gives="a") as team:
        added = await team.contents["a"].add([b"x" * 5000], "file")
        await team.settle()
        assert {event.pubkey for event in team.said} == {team.npub("a")}
        assert team.here(added.cid) == ["a"]
        assert team.nodes["b"].short() == 1


async def test_a_stranger_and_an_older_word_are_not_heard(tmp_path: Path) -> None:
    async with crowd(tmp_path) as team:
        added = await team.contents["a"].add([b"x"], "file")
        await team.update("a")
        old = list(team.said)
        await team.settle()
        before = team.nodes["b"].copies(added.cid)
        stranger = identity()
        for event in (*old, *(stranger.sign(e.kind, e.tags, e.content, NOW + 9) for e in old)):
            team.nodes["b"].learn(event)
        assert team.nodes["b"].copies(added.cid) == before


async def test_pins_of_tokens_and_uploads_of_keys_make_nobody_keep_copies(tmp_path: Path) -> None:
    async with crowd(tmp_path) as team:
        token = await team.contents["a"].add([b"x" * 5000], "", owner="pinning/ridge")
        both = await team.contents["a"].add([b"y" * 5000], "", owner="blossom/" + "ab" * 32)
        await team.contents["a"].pin(both.cid, "", Pin("pinning/ridge"))
        await team.settle()
        assert team.here(token.cid) == ["a"]
        assert team.here(both.cid) == []
