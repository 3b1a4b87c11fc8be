"""Running a node in this process until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Fatal, MeshconsoleError
from meshconsole.node.collecting import collect_rarely
from meshconsole.node.config_file import load_config
from meshconsole.node.light_metadata import use_light_metadata
from meshconsole.node.lock import HomeLock
from meshconsole.node.logs import set_up_logging, stop_logging
from meshconsole.node.memory import Surplus, allow_many_files, keep_memory_private, use_few_arenas
from meshconsole.node.opening import open_keystore
from meshconsole.node.service_manager import ServiceManager
from meshconsole.node.wipe import finish_wipe, wipe_is_owed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from meshconsole.control.server import ControlServer
    from meshconsole.core.config import Config
    from meshconsole.core.home import Home
    from meshconsole.crypto.keystore import Secrets

log = logging.getLogger(__name__)

SETTLED_S = 3.0
"""After the start: discovery has begun by then."""
SWITCH_INTERVAL_S = 0.001
"""Verification threads must not wait for the default 5 ms each time they need the interpreter."""


def run_node(
    home: Home,
    *,
    passphrase: str | None,
    settings: list[str],
    listen: str | None = None,
    ready_fd: int | None = None,
    log_to_file: bool = False,
    on_ready: Callable[[], None] | None = None,
    keyfile: Path | None = None,
    invite_file: Path | None = None,
) -> int:
    """0 after a clean stop, or after a wipe. Raises MeshconsoleError before the node serves.

    A home that nothing given here opens waits for `meshconsole unlock`. `ready_fd` gets one line,
    "ready ADDRESS", once the node serves; `on_ready` is called once its control socket answers. The
    invite in `invite_file` is used as soon as it can be, and then wiped.
    """
    if listen is not None:
        settings = [*settings, f"node.listen={listen}"]
    if not home.path.is_dir():
        raise Fatal(f"There is no node in {home.path}.", hint="Create one with 'meshconsole init'.")
    go_on_with_wipe(home)
    reread = partial(load_config, home, settings)
    config = reread()
    set_up_logging(home, config, to_file=log_to_file)
    collect_rarely()
    use_few_arenas()
    keep_memory_private()
    allow_many_files()
    start = Start(reread, ServiceManager.of_process(os.environ, os.getpid()), ready_fd, on_ready, invite_file)
    with HomeLock(home):
        unlocked = _open(home, passphrase, keyfile)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            return asyncio.run(_serve(home, config, unlocked, start))
        except BaseExceptionGroup as group:
            raise _first_cause(group) from group
        finally:
            if wipe_is_owed(home):
                stop_logging()
                finish_wipe(home)


def _open(home: Home, passphrase: str | None, keyfile: Path | None) -> Secrets | None:
    """The interpreter is free while a passphrase is stretched: the rooms are loaded in that time."""
    with ThreadPoolExecutor(1) as aside:
        opening = aside.submit(open_keystore, home, passphrase, keyfile)
        load_rooms()
        return opening.result()


def load_rooms() -> None:
    """All that a node needs to serve: most of its start without a passphrase."""
    gc.disable()  # nothing of it is let go of again
    use_light_metadata()
    import meshconsole.control.server
    import meshconsole.mesh.service
    import meshconsole.node.acts.commands
    import meshconsole.node.locked
    import meshconsole.node.node  # noqa: F401

    gc.freeze()
    gc.enable()


def go_on_with_wipe(home: Home) -> None:
    """Where a wipe was cut off: the rest of it, instead of a start. Raises Fatal in any case then."""
    if wipe_is_owed(home):
        with HomeLock(home):
            finish_wipe(home)
        raise Fatal(
            f"This home was wiped before; the wipe was cut off and is complete now: {home.path} is empty.",
            hint="Begin anew with 'meshconsole init', and have the old device removed from its team.",
        )


class Start(msgspec.Struct, frozen=True):
    """How the node was started: who waits for it, and what it reads again."""

    reread: Callable[[], Config]
    manager: ServiceManager
    ready_fd: int | None = None
    on_ready: Callable[[], None] | None = None
    invite_file: Path | None = None


async def _serve(home: Home, config: Config, unlocked: Secrets | None, start: Start) -> int:
    from meshconsole.control.server import ControlServer
    from meshconsole.node.locked import LockedHome

    locked = LockedHome(home)
    control = ControlServer(home.control_socket, locked, time.monotonic)
    if unlocked is not None:
        return await _serve_open(home, config, unlocked, control, start)
    stop_on_signals(locked.request_stop)
    await control.start()
    try:
        log.info("locked; it opens with: meshconsole unlock")
        start.manager.ready("locked; it opens with: meshconsole unlock")
        if start.on_ready is not None:
            start.on_ready()
        async with _watched(start.manager, locked.pulse):
            unlocked = await locked.wait()
        if unlocked is None:
            start.manager.stopping()
            return 0
        try:
            return await _serve_open(home, config, unlocked, control, start, locked.served)
        except BaseException as error:
            locked.failed(error)
            raise
    finally:
        await control.stop()


async def _serve_open(
    home: Home,
    config: Config,
    unlocked: Secrets,
    control: ControlServer,
    start: Start,
    served: Callable[[], None] = lambda: None,
) -> int:
    from meshconsole.node.acts.commands import Commands
    from meshconsole.node.node import Node

    node = Node(home, config, unlocked, control, Commands)
    node.reloading.reread = start.reread
    node.reloading.begins = lambda: start.manager.reloading(time.monotonic_ns())
    node.reloading.ended = start.manager.ready
    if start.invite_file is not None:
        from meshconsole.node.first_boot import InviteFile

        node.invite_file = InviteFile(start.invite_file, node.teamwork.join, node.teamwork.name)
    loop = asyncio.get_running_loop()
    settling: list[asyncio.Task[None]] = []

    def stop(reason: str) -> None:
        start.manager.stopping()
        node.request_stop(reason)

    stop_on_signals(stop)
    if not sys.stdin.isatty():
        loop.add_signal_handler(signal.SIGHUP, node.reloading.ask)

    def ready() -> None:
        served()
        settling.append(loop.create_task(_settle(), name="settling"))
        addresses = ", ".join(node.addresses)
        log.info("serving on %s", addresses)
        start.manager.ready(f"serving on {addresses}")
        if start.ready_fd is not None:
            with open(start.ready_fd, "w") as pipe:
                print("ready", *node.addresses, file=pipe)
        if start.on_ready is not None:
            start.on_ready()

    try:
        async with _watched(start.manager, node.pulse):
            await node.run(ready)
    finally:
        for task in settling:
            task.cancel()  # a thread that is at it ends before the loop's threads are given up
    log.info("stopped")
    return 0


@contextlib.asynccontextmanager
async def _watched(manager: ServiceManager, pulse: Callable[[], Awaitable[str]]) -> AsyncIterator[None]:
    """The watchdog is fed from here on: what starts slowly is alive too."""
    watching = asyncio.create_task(manager.watch(pulse))
    try:
        yield
    finally:
        watching.cancel()


def stop_on_signals(stop: Callable[[str], None]) -> None:
    """SIGHUP only where it means that the terminal is gone; a service manager means "read it again"."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, signal.Signals(number).name)
    if sys.stdin.isatty():
        loop.add_signal_handler(signal.SIGHUP, stop, "SIGHUP")
    else:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def _settle() -> None:
    """What lives after a while will live on; what the start used for a moment goes back to the system. So
    does later what a beacon or an hourly check used: pages of libraries that nothing needs until the next."""
    await asyncio.sleep(SETTLED_S)
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    await Surplus().keep_small()


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of ours in a group, else its first error: a sentence instead of a tree."""
    flat: list[BaseException] = []

    def collect(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for part in error.exceptions:
                collect(part)
        else:
            flat.append(error)

    collect(group)
    for error in flat:
        if isinstance(error, MeshconsoleError):
            return error
    return flat[0]
