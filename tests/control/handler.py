"""A node reduced to what the control socket sees of one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshconsole.control.audit import AuditTail
from meshconsole.control.files import GetBlob
from meshconsole.control.messages import LinesData, Reply, Stop, done
from meshconsole.control.notes import SendNote
from meshconsole.control.relay import Export
from meshconsole.core.errors import Refused
from meshconsole.core.status import EventView, LimitsStatus, NodeStatus, RelayStatus, StorageStatus

if TYPE_CHECKING:
    from meshconsole.control.messages import Command
    from meshconsole.control.server import Report


def a_status(name: str = "falcon-3", now: float = 1_700_000_000.0) -> NodeStatus:
    return NodeStatus(
        version="0.1.0",
        name=name,
        npub="ab" * 32,
        started=1_699_990_000.0,
        now=now,
        listen=("192.0.2.7:7447",),
        relay=RelayStatus(
            enabled=True, address="ws://192.0.2.7:7447", public=False, clients=0, subscriptions=0
        ),
        storage=StorageStatus(
            quota_bytes=1 << 29, events_bytes=0, blocks_bytes=0, events_count=0, blocks_count=0
        ),
        limits=LimitsStatus(
            connections=0,
            max_connections=64,
            rate_in_bps=0,
            rate_out_bps=0,
            max_rate_bps=1e6,
            memory_bytes=40 << 20,
            max_memory_bytes=0,
            cpu_percent=0.5,
            performance_mode="balanced",
        ),
    )


def an_event(seq: int, text: str = "") -> EventView:
    return EventView(
        seq=seq,
        id=f"{seq:064x}",
        npub="cd" * 32,
        author="hawk",
        created_at=1_700_000_000 + seq,
        received_at=1_700_000_000.5 + seq,
        kind=4202,
        words="team note",
        size=300,
        accepted=True,
        verdict="",
        text=text or f"note {seq}",
    )


class Handler:
    """Remembers commands. `SendNote` of "wait" waits for `release`, of "break" breaks."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.locked = False
        self.name = "falcon-3"
        self.now = 1_700_000_000.0
        self.waiting = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled = asyncio.Event()

    def status(self) -> NodeStatus:
        if self.locked:
            raise Refused("auth-required", "This home is locked.", hint="Unlock it: meshconsole unlock")
        return a_status(self.name, self.now)

    async def handle(self, command: Command, report: Report) -> Reply:
        self.commands.append(command)
        match command:
            case SendNote(text="break"):
                raise ZeroDivisionError("secret words of the fault")
            case SendNote(text="refuse"):
                raise Refused("restricted", "The quota is full.", hint="Delete something.")
            case SendNote(text="wait"):
                await self._wait()
            case GetBlob():
                report(1, 4)
                await asyncio.sleep(0)
                report(2, None, "from hawk")
            case AuditTail(limit=limit):
                return done(data=LinesData(tuple("x" * 1000 for _ in range(limit))))
            case Export() | Stop():
                pass
        return done("Done.")

    async def _wait(self) -> None:
        self.waiting.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
