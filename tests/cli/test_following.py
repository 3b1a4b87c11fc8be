"""--follow: first all of it, then only what is different, in words and as JSON."""

from __future__ import annotations

import json
from itertools import count
from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.cli import following
from meshconsole.cli.following import Changes, Row
from meshconsole.cli.main import EXIT_INTERRUPTED, EXIT_UNAVAILABLE, main
from meshconsole.control.audit import AuditTail
from meshconsole.control.messages import (
    BlobsPush,
    GetHistory,
    HistoryData,
    LinesData,
    Notice,
    NoticesPush,
    StatusPush,
    done,
)
from meshconsole.core.history import Track
from tests.cli.falcon import BLOBS, NOW, STATUS, TRACKS
from tests.cli.scripted_node import ScriptedNode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshconsole.control.messages import Command, Push, Reply, Subscribe
    from meshconsole.control.server import Report
    from meshconsole.core.status import NodeStatus

replace = msgspec.structs.replace
PEER, AWAY = STATUS.peers
ROLL, TEAM = STATUS.roll_call, STATUS.team
assert ROLL is not None
assert TEAM is not None

LATER = replace(
    STATUS,
    now=NOW + 60,
    peers=(replace(PEER, state="suspect", hears_us=False, last_heard=NOW), AWAY),
    team=replace(TEAM, members=TEAM.members[:2], epoch=4),
    storage=replace(STATUS.storage, blocks_bytes=64_000_000, blocks_count=52),
    limits=replace(STATUS.limits, connections=4, degraded=()),
    roll_call=replace(ROLL, board=(replace(ROLL.board[0], state="ok", at=NOW + 50), ROLL.board[1])),
    sent=(replace(STATUS.sent[0], state="delivered", lacks=()), *STATUS.sent[1:]),
    emcon="quiet",
    health=(),
    relay=replace(STATUS.relay, clients=3),
)
"""A minute on: each of the commands has something to say."""
SLOWER = tuple(replace(link, rtt_ms=900.0) for link in PEER.links)
AGED = replace(STATUS, now=NOW + 30, peers=(replace(PEER, links=SLOWER), AWAY))
"""Half a minute on, in which nothing happened."""

SAID = {
    "status": [
        "22:14:20  relay  ws://192.0.2.7:7447, team only, 3 clients",
        "22:14:20  team  Falcon, 2 members",
    ],
    "peers": ["22:14:20  bravo  suspect  role member"],
    "map": ["22:14:20  alpha (here)  hears -", "22:14:20  bravo  hears -  does not hear alpha"],
    "storage": ["22:14:20  used  65 MB of 512 MB", "22:14:20  files  64 MB, 52 blocks"],
    "limits": ["22:14:20  connections  4  of 64", "22:14:20  gone:  limited: replication waits"],
    "notices": ["22:14:20  gone:  warning:  The clock was never set. Set it."],
    "rollcall": ["22:14:20  ok  alpha  10 s ago"],
    "receipts": ["22:14:20  2023-11-14 22:12:20  05050505  flash  delivered"],
    "emcon": ["22:14:20  Emission control is quiet"],
    "team": ["22:14:20  gone:  mal", "22:14:20  Falcon, epoch 4, MC1"],
    "team members": ["22:14:20  Falcon, epoch 4, MC1"],
    "relay": ["22:14:20  clients  3, 5 subscriptions"],
}  # fmt: skip


def told(monkeypatch: pytest.MonkeyPatch, *pushes: Push) -> None:
    """What the node says before the person interrupts."""

    def stream(_path: Path, _wanted: Subscribe) -> Iterator[Push]:
        yield from pushes
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "stream", stream)


@pytest.mark.parametrize("command", SAID)
def test_first_all_of_it_then_what_is_different(
    command: str, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told(monkeypatch, *(StatusPush(status) for status in (STATUS, AGED, LATER, LATER)))
    assert main([*command.split(), "--follow"]) == EXIT_INTERRUPTED
    lines = capsys.readouterr().out.splitlines()
    before = [line for line in lines if line.startswith("22:13:20  ")]
    after = [line for line in lines if line.startswith("22:14:20  ")]
    assert before
    assert [*before, *after] == lines, "what aged only is no difference"
    for wanted in SAID[command]:
        assert any(line.startswith(wanted) for line in after), (wanted, after)
    assert all("\x1b" not in line and "\u202e" not in line for line in lines)


@pytest.mark.parametrize("command", [name for name in SAID if name != "notices"])
def test_as_json_the_same_value_whenever_it_differs(
    command: str, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told(monkeypatch, *(StatusPush(status) for status in (STATUS, STATUS, LATER, LATER)))
    assert main([*command.split(), "--follow", "--json"]) == EXIT_INTERRUPTED
    before, after = map(json.loads, capsys.readouterr().out.splitlines())
    assert main([*command.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == before != after


def test_notices_as_they_come(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pushes = StatusPush(STATUS), NoticesPush((Notice(NOW + 5, "critical", "It burns.", "Run."),))
    told(monkeypatch, *pushes)
    assert main(["notices", "--follow"]) == EXIT_INTERRUPTED
    assert capsys.readouterr().out.splitlines() == [
        "22:13:20  warning:  The clock was never set. Set it.",
        "22:13:25  critical:  It burns. Run.",
    ]
    told(monkeypatch, *pushes, StatusPush(LATER))
    assert main(["notices", "--follow", "--json"]) == EXIT_INTERRUPTED
    standing, notice, nothing = map(json.loads, capsys.readouterr().out.splitlines())
    assert standing["standing"][0]["code"] == "clock"
    assert notice["text"] == "It burns."
    assert nothing == {"standing": []}


def test_files_as_they_change(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told(monkeypatch, BlobsPush((replace(BLOBS[1], state="here"),)))
    assert main(["blobs", "--follow"]) == EXIT_INTERRUPTED
    assert [line.split("  ")[3] for line in capsys.readouterr().out.splitlines()] == [
        "here",
        "partial 25 %",
        "here",
    ]
    assert main(["blobs", "list", "--follow", "--json"]) == EXIT_INTERRUPTED
    assert [json.loads(line)["state"] for line in capsys.readouterr().out.splitlines()] == [
        "here",
        "partial",
        "here",
    ]


class Moving(ScriptedNode):
    """Its log and its history grow with each look; it stops after some."""

    def __init__(self, looks: int = 4) -> None:
        super().__init__()
        self.looks, self.seen = looks, count()

    def status(self) -> NodeStatus:
        seen = next(self.seen)
        if seen >= self.looks:
            self.stopping.set()
        return replace(STATUS, now=NOW + seen, emcon="open" if seen < 2 else "dark")

    async def handle(self, command: Command, report: Report) -> Reply:
        seen = next(self.seen)
        match command:
            case AuditTail():
                return done(
                    data=LinesData(tuple(f"{number} then something.done" for number in range(1, seen + 2)))
                )
            case GetHistory():
                track = Track("in", 10.0, NOW + 10 * seen, tuple(1000.0 * at for at in range(seen + 2)))
                return done(data=HistoryData((track, *TRACKS[3:])))
        return await super().handle(command, report)


def test_what_is_asked_for_is_asked_again(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moving = Moving()
    monkeypatch.setattr(node, "handle", moving.handle)
    told(monkeypatch, *[StatusPush(STATUS)] * 3)
    assert main(["audit", "--follow"]) == EXIT_INTERRUPTED
    assert capsys.readouterr().out.splitlines() == [f"{number} then something.done" for number in (1, 2, 3)]
    moving.seen = count()
    assert main(["history", "--follow"]) == EXIT_INTERRUPTED
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[2] for line in lines] == [
        "in  0 bit/s",
        *(f"rtt bravo  {ms} ms" for ms in (2, 2, 480)),
        "in  8 kbit/s",
        "in  16 kbit/s",
    ]
    moving.seen = count()
    assert main(["history", "--follow", "--json"]) == EXIT_INTERRUPTED
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "at": NOW + 10, "name": "in", "npub": "", "value": 2000.0,
    }  # fmt: skip


def test_over_the_socket_until_the_node_stops(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moving = Moving(looks=0)
    moving.stopping = node.stopping
    monkeypatch.setattr(node, "status", moving.status)
    assert main(["emcon", "--follow"]) == EXIT_UNAVAILABLE
    printed = capsys.readouterr()
    assert printed.out.startswith("22:13:20  Emission control is open")
    assert "is not running" in printed.err or "stopped" in printed.err


def test_rows_that_come_change_age_and_go() -> None:
    changes = Changes()
    assert changes.take([Row("a", ("a", "1 s"), "up"), Row("b", ("b",), 1)]) == [("a", "1 s"), ("b",)]
    assert changes.take([Row("a", ("a", "2 s"), "up"), Row("b", ("b",), 1)]) == []
    assert changes.take([Row("a", ("a", "3 s"), "down"), Row("c", ("c",), 1)]) == [
        ("gone:", "b"),
        ("a", "3 s"),
        ("c",),
    ]
