"""The console application: a shell, a session with the node, and the desk."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from textual import events

from meshconsole.console.desk import Desk
from meshconsole.console.dropped import looks_like_a_path, path_of
from meshconsole.console.keymap import Keymap
from meshconsole.console.model import Model
from meshconsole.console.place import go_back, place_of
from meshconsole.console.screens.locked import Locked
from meshconsole.console.session import Session
from meshconsole.console.shell import Shell
from meshconsole.console.verbs import ACTS
from meshconsole.console.verbs.files import ask_to_add
from meshconsole.console.work import start
from meshconsole.core.errors import MeshconsoleError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from meshconsole.console.model import LinkState
    from meshconsole.console.profile import Profile
    from meshconsole.control.desk import KeepDesk
    from meshconsole.control.messages import Push
    from meshconsole.core.history import Track
    from meshconsole.core.status import BlobView, EventView, NodeStatus

READ_ONLY = "This console is read-only: it shows, and changes nothing."
LOCK_CHECK_S = 5.0
SETTLED_S = 4.0
KEEP_S = 5.0
"""Between two looks at whether the person is somewhere else; a line that breaks loses no more than this."""


class Console(Shell):
    """`clock` gives seconds since the epoch."""

    TITLE = "meshconsole"

    def __init__(
        self,
        socket_path: Path,
        profile: Profile,
        *,
        theme: str,
        folders: Sequence[Path] = (),
        keymap: Keymap | None = None,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
        lock_after_s: float = 0.0,
        idle_clock: Callable[[], float] = time.monotonic,
        settled: Callable[[], None] | None = None,
        no_paths: str = "",
    ) -> None:
        """It locks itself after `lock_after_s` without a key; 0 is never. `settled` is called some time after
        the start, for what can be let go of then. `no_paths`: see Session."""
        super().__init__(profile, theme=theme, folders=folders)
        self.session = Session(socket_path, self, fps=profile.fps, read_only=read_only, no_paths=no_paths)
        self.keymap = keymap or Keymap()
        self.desk = Desk(Model(), profile, self.session, clock, self.keymap, ACTS)
        self._lock_after_s = lock_after_s
        self._idle_clock = idle_clock
        self._touched = idle_clock()
        self._kept: KeepDesk | None = None
        self._settled = settled

    def get_default_screen(self) -> Desk:
        return self.desk

    def on_ready(self) -> None:
        for problem in (*self.theme_problems, *self.desk.keymap.problems):
            self.desk.say(problem, "warn")
        if self.session.read_only:
            self.desk.say(READ_ONLY)
        start(self, self.session.run, "session")
        self.set_interval(KEEP_S, self._keep_place)
        if self._settled is not None:
            self.set_timer(SETTLED_S, self._settled)
        if self._lock_after_s:
            self.set_interval(min(LOCK_CHECK_S, self._lock_after_s), self.lock_if_idle)

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.InputEvent):
            self._touched = self._idle_clock()
        await super().on_event(event)

    def on_paste(self, event: events.Paste) -> None:
        """A file that is dropped on the terminal comes as a paste of its path: it is asked about."""
        desk = self.desk
        if self.screen is desk and desk.entry_line.question is None and looks_like_a_path(event.text):
            ask_to_add(desk, path_of(event.text))

    def lock_if_idle(self) -> None:
        if self._idle_clock() - self._touched >= self._lock_after_s:
            self.lock()

    def lock(self) -> bool:
        """Not where no passphrase of this user's opens it again: there would be no way back."""
        status = self.desk.model.status
        if status is None or not status.has_passphrase or self.session.right != "owner":
            return False
        if not any(isinstance(screen, Locked) for screen in self.screen_stack):
            self.push_screen(Locked(self.session.check_passphrase))
        return True

    async def action_quit(self) -> None:
        """Ctrl+Q anywhere: the question at the desk, the way out elsewhere."""
        if self.screen is self.desk:
            self.desk.action_do("app.quit")
        else:
            self.exit()

    def action_help_quit(self) -> None:
        self.desk.say(f"Ctrl+C does not leave: {self.desk.keymap.key('app.quit')} asks, Ctrl+Q too.")

    # session.Listener: passed on while the desk is there.

    def link_changed(self, state: LinkState, reason: str) -> None:
        self.desk.link_changed(state, reason)

    def remembered(self, tracks: tuple[Track, ...]) -> None:
        self.desk.remembered(tracks)

    def began(self, status: NodeStatus, events: list[EventView], blobs: tuple[BlobView, ...]) -> None:
        self.desk.began(status, events, blobs)
        if self.session.right == "watcher":
            self.desk.say(READ_ONLY)

    def recalled(self, place: KeepDesk) -> None:
        go_back(self.desk, place)
        self._kept = place_of(self.desk)

    async def _keep_place(self) -> None:
        """For the next console. Only the owner's is kept; a node that refuses is not asked again."""
        place = place_of(self.desk)
        may_keep = self.session.right == "owner" and not self.session.read_only
        if place == self._kept or not may_keep or self.desk.model.stale:
            return
        self._kept = place
        with suppress(MeshconsoleError):
            await self.session.call(place)

    def pushed(self, push: Push) -> None:
        self.desk.pushed(push)
