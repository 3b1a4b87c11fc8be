"""The console's side of the node: attach, follow, and when it goes away say so and try again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from meshconsole.control.client import ControlClient
from meshconsole.control.desk import DeskData, RecallDesk
from meshconsole.control.files import BlobsData, ListBlobs
from meshconsole.control.keys import Unlock
from meshconsole.control.messages import (
    READING,
    EventsData,
    EventsPush,
    GetHistory,
    GetStatus,
    HistoryData,
    ListEvents,
    StatusData,
    Subscribe,
)
from meshconsole.core.errors import Fatal, MeshconsoleError, Refused, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meshconsole.console.model import LinkState
    from meshconsole.control.desk import KeepDesk
    from meshconsole.control.messages import Command, Progress, Push, Reply
    from meshconsole.core.history import Track
    from meshconsole.core.status import BlobView, EventView, NodeStatus

Seen = set[tuple[str, float]]

HISTORY = 500
"""Events that are asked for when the console attaches."""
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)


class Listener(Protocol):
    """Who is told; called on the console's loop."""

    def link_changed(self, state: LinkState, reason: str) -> None: ...
    def remembered(self, tracks: tuple[Track, ...]) -> None: ...
    def began(self, status: NodeStatus, events: list[EventView], blobs: tuple[BlobView, ...]) -> None: ...
    def recalled(self, place: KeepDesk) -> None: ...
    def pushed(self, push: Push) -> None: ...


class Session:
    def __init__(
        self, path: Path, listener: Listener, *, fps: float, read_only: bool, no_paths: str = ""
    ) -> None:
        self.path = path
        self.listener = listener
        self.fps = fps
        self.read_only = read_only
        self.no_paths = no_paths
        """Why no file is named from here, where the node would open another one; "" if it may be."""
        self.right = "owner"
        """What this user is to the node: control/rights.py."""
        self._client: ControlClient | None = None
        self._again = asyncio.Event()
        self._tries = 0
        self._recalled = False

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self._attend()
            except Refused as error:
                self.listener.link_changed("locked" if error.code == "auth-required" else "lost", str(error))
            except MeshconsoleError as error:
                self.listener.link_changed("lost", str(error))
            await self._pause(BACKOFF_S[min(self._tries, len(BACKOFF_S) - 1)])
            self._tries += 1

    def try_again(self) -> None:
        """Now, rather than when the pause is over."""
        self._again.set()

    async def call(self, command: Command, *, progress: Callable[[Progress], None] | None = None) -> Reply:
        """Raises Refused (a read-only console, or the node says no) and Unavailable."""
        if self.read_only and not isinstance(command, READING):
            raise Refused("restricted", "This console is read-only.")
        if self._client is None or self._client.lost is not None:
            raise Unavailable("The node cannot be reached now.")
        return (await self._client.call(command, progress=progress)).or_raise()

    async def unlock(self, passphrase: str) -> None:
        """Opens a locked home, then attaches. Raises Refused and Unavailable."""
        await self.check_passphrase(passphrase)
        self.try_again()

    async def check_passphrase(self, passphrase: str) -> None:
        """Raises Refused unless it is the home's, and Unavailable. Read-only consoles may ask too."""
        client = ControlClient(self.path)
        await client.connect()
        try:
            (await client.call(Unlock(passphrase))).or_raise()
        finally:
            await client.close()

    async def _attend(self) -> None:
        self.listener.link_changed("connecting", "")
        client = ControlClient(self.path)
        self.right = (await client.connect()).right
        self.read_only |= self.right == "watcher"
        try:
            self._client = client
            await self._begin(client)
        finally:
            self._client = None
            await client.close()

    async def _begin(self, client: ControlClient) -> None:
        status = (await client.call(GetStatus())).or_raise().data
        # Subscribed before listed: what happens in between comes twice rather than never.
        (await client.call(Subscribe(self.fps))).or_raise()
        events = (await client.call(ListEvents(HISTORY))).or_raise().data
        blobs = (await client.call(ListBlobs())).or_raise().data
        past = (await client.call(GetHistory())).or_raise().data
        if not (
            isinstance(status, StatusData) and isinstance(events, EventsData) and isinstance(blobs, BlobsData)
        ):
            raise Fatal("The node answered something else than was asked.", hint="Are the versions the same?")
        if isinstance(past, HistoryData):
            self.listener.remembered(past.tracks)
        self.listener.began(status.status, list(events.events), blobs.blobs)
        if not self._recalled:
            self._recalled = True
            kept = (await client.call(RecallDesk())).data
            if isinstance(kept, DeskData):
                self.listener.recalled(kept.desk)
        self.listener.link_changed("attached", "")
        self._tries = 0
        listed = {(event.id, event.received_at) for event in events.events}
        async for push in client.pushes():
            self.listener.pushed(_without(push, listed))

    async def _pause(self, delay_s: float) -> None:
        self._again.clear()
        try:
            async with asyncio.timeout(delay_s):
                await self._again.wait()
        except TimeoutError:
            return


def _without(push: Push, listed: Seen) -> Push:
    """`push` without the events that were listed already. Once one push had none of them, none will."""
    if not listed or not isinstance(push, EventsPush):
        return push
    fresh = tuple(event for event in push.events if (event.id, event.received_at) not in listed)
    if len(fresh) == len(push.events):
        listed.clear()
    return EventsPush(fresh, push.dropped)
