"""Runs the console on a scripted node, as a program of its own:  python -m tests.console.on_a_terminal SCENE

Scenes: `busy`, `hostile` (every text a peer controls attacks the terminal), `crash` (key 9 breaks),
`first` (the first run), `flood` (events without end).
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from meshconsole.console.run import ConsoleOptions, run_console, run_first_run
from meshconsole.control.messages import Notice
from meshconsole.control.server import ControlServer
from meshconsole.core.errors import Fatal, MeshconsoleError
from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.status import (
    ClientStatus,
    ProposalStatus,
    RollCallStatus,
    RollStatus,
    SentStatus,
    UplinkStatus,
)
from tests.console.feed import an_event
from tests.console.field import NOW, npub_of
from tests.console.scripted import ScriptedNode

if TYPE_CHECKING:
    from meshconsole.console.desk import Desk

ATTACK = (
    "\x1b]52;c;SGVsbG8=\x07\x1b[2J\x9b31m\x90q\x9c\u202egnp\u2066\x00\x7f\r\n[@click=app.quit]XX[/][bold]"
)


FEW_WORDS = {"carries", "clock", "emcon", "path", "roll", "severity", "state"}
"""Fields that are one of a few words, which the decoder of the socket sees to."""


def attack(value: object) -> object:
    """`value` with every free text in it replaced by an attack."""
    match value:
        case str():
            return ATTACK
        case list() | tuple():
            return [attack(one) for one in value]
        case dict():
            return {key: one if key in FEW_WORDS else attack(one) for key, one in value.items()}
        case _:
            return value


def attacked(struct: msgspec.Struct) -> msgspec.Struct:
    return msgspec.convert(attack(msgspec.to_builtins(struct)), type(struct))


def urgent_too(node: ScriptedNode) -> dict[str, object]:
    """What a calm node does not have to show: notes that wait, a roll call, receipts, proposals, uplinks."""
    flash = an_event(900, "medic", TEAM_NOTE, "x", at=NOW, precedence="flash")
    medic = npub_of("medic")
    board = (RollStatus(medic, "medic", "help", NOW), RollStatus(npub_of("base"), "base", "silent"))
    team = node.status_now.team
    assert team is not None
    return {
        "unread": (flash, flash),
        "roll_call": RollCallStatus("07" * 32, medic, "medic", "x", NOW, owed=True, board=board),
        "sent": (SentStatus("05" * 32, NOW, "flash", "carried 1/2", 2, (medic,), (npub_of("base"),)),),
        "uplinks": (UplinkStatus("wss://relay.example", "waiting", note="x", next_try=NOW + 9),),
        "team": msgspec.structs.replace(
            team,
            proposals=(ProposalStatus("0a1b2c3d", medic, "medic", "x", int(NOW)),),
            clients=(ClientStatus(medic, "x", writes=True),),
            rules=(("history", "full"),),
        ),
    }


def hostile_node() -> ScriptedNode:
    node = ScriptedNode()
    status = attacked(msgspec.structs.replace(node.status_now, **urgent_too(node)))
    assert isinstance(status, type(node.status_now))
    hostile = {f"{ATTACK}{reason}": count for reason, count in node.status_now.limits.refusals.items()}
    limits = msgspec.structs.replace(status.limits, refusals=hostile, degraded=(ATTACK,))
    node.status_now = msgspec.structs.replace(status, limits=limits, discovery=(ATTACK, ATTACK))
    node.events = [attacked(event) for event in node.events]  # type: ignore[misc]
    node.blobs = {ATTACK + cid: attacked(blob) for cid, blob in node.blobs.items()}  # type: ignore[misc]
    node.audit = [ATTACK] * 5
    node.refuse = ATTACK
    return node


class Served:
    """The node's socket on a thread of its own, as if it were another process."""

    def __init__(self, scene: str) -> None:
        self.scene = scene
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "control.sock"
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True)

    async def serve(self) -> None:
        node = hostile_node() if self.scene == "hostile" else ScriptedNode()
        server = ControlServer(self.path, node, asyncio.get_running_loop().time)
        node.server = server
        await server.start()
        self.ready.set()
        seq = 1000
        while True:
            await asyncio.sleep(0.05)
            if self.scene == "hostile":
                server.notice(Notice(NOW, "critical", ATTACK, ATTACK))
            if self.scene == "flood":
                seq += 10
                server.events_happened([an_event(seq, "medic", TEAM_NOTE, "x" * 60, at=NOW)] * 10)


def break_on_a_key() -> None:
    """Makes an action fail with a secret among its local variables."""
    from meshconsole.console.verbs.registry import verb

    @verb("view.notices")
    async def broken(desk: Desk, _: str) -> None:
        passphrase = "correct horse battery staple"
        desk.say(str(len(passphrase) // 0))


def main() -> int:
    scene = sys.argv[1]
    options = ConsoleOptions(**json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}"))
    if scene == "first":
        answers = run_first_run(options=options)
        print("FIRST RUN:", "given up" if answers is None else (answers[0].name, answers[0].team))
        return 0
    if scene == "crash":
        break_on_a_key()
    served = Served(scene)
    served.thread.start()
    served.ready.wait()
    return run_console(served.path, options=options)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MeshconsoleError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code if isinstance(error, Fatal) else 1)
