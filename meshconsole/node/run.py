"""Running a node in this process until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from meshconsole.control.server import ControlServer
from meshconsole.core.errors import Fatal, MeshconsoleError
from meshconsole.node.config_file import load_config
from meshconsole.node.governor import lower_priority
from meshconsole.node.lock import HomeLock
from meshconsole.node.locked import LockedHome
from meshconsole.node.memory import allow_many_files, give_back, keep_memory_private, use_few_arenas
from meshconsole.node.setup import open_keystore
from meshconsole.node.wipe import finish_wipe, wipe_is_owed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from meshconsole.core.config import Config
    from meshconsole.core.home import Home
    from meshconsole.crypto.keystore import Secrets

log = logging.getLogger(__name__)

LOG_BYTES = 1_000_000
SETTLED_S = 3.0
"""After the start: discovery has begun by then."""
GC_THRESHOLDS = (50_000, 20, 50)
"""A relay under load makes many objects and no cycles: with Python's own thresholds, looking for some was a
twentieth of its time."""
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
) -> int:
    """0 after a clean stop, or after a wipe. Raises MeshconsoleError before the node serves.

    A home that nothing given here opens waits for `meshconsole unlock`. `ready_fd` gets one line,
    "ready ADDRESS", once the node serves; `on_ready` is called once its control socket answers.
    """
    if listen is not None:
        settings = [*settings, f"node.listen={listen}"]
    if not home.path.is_dir():
        raise Fatal(f"There is no node in {home.path}.", hint="Create one with 'meshconsole init'.")
    go_on_with_wipe(home)
    reread = partial(load_config, home, settings)
    config = reread()
    _set_up_logging(home, config, log_to_file)
    use_few_arenas()
    keep_memory_private()
    allow_many_files()
    with HomeLock(home):
        unlocked = open_keystore(home, passphrase, keyfile)
        lower_priority(config.limits.performance_mode)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        try:
            return asyncio.run(_serve(home, config, unlocked, ready_fd, on_ready, reread))
        except BaseExceptionGroup as group:
            raise _first_cause(group) from group
        finally:
            if wipe_is_owed(home):
                _stop_logging()
                finish_wipe(home)


def go_on_with_wipe(home: Home) -> None:
    """Where a wipe was cut off: the rest of it, instead of a start. Raises Fatal in any case then."""
    if wipe_is_owed(home):
        with HomeLock(home):
            finish_wipe(home)
        raise Fatal(
            f"This home was wiped before; the wipe was cut off and is complete now: {home.path} is empty.",
            hint="Begin anew with 'meshconsole init', and have the old device removed from its team.",
        )


async def _serve(
    home: Home,
    config: Config,
    unlocked: Secrets | None,
    ready_fd: int | None,
    on_ready: Callable[[], None] | None,
    reread: Callable[[], Config],
) -> int:
    locked = LockedHome(home)
    control = ControlServer(home.control_socket, locked, time.monotonic)
    if unlocked is not None:
        return await _serve_open(home, config, unlocked, control, ready_fd, on_ready, reread)
    stop_on_signals(locked.request_stop)
    await control.start()
    try:
        log.info("locked; it opens with: meshconsole unlock")
        if on_ready is not None:
            on_ready()
        unlocked = await locked.wait()
        if unlocked is None:
            return 0
        try:
            return await _serve_open(
                home, config, unlocked, control, ready_fd, on_ready, reread, locked.served
            )
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
    ready_fd: int | None,
    on_ready: Callable[[], None] | None,
    reread: Callable[[], Config],
    served: Callable[[], None] = lambda: None,
) -> int:
    from meshconsole.node.node import Node

    node = Node(home, config, unlocked, control)
    node.reloading.reread = reread
    loop = asyncio.get_running_loop()
    stop_on_signals(node.request_stop)
    if not sys.stdin.isatty():  # on a terminal it means that the terminal is gone
        loop.add_signal_handler(signal.SIGHUP, node.reloading.ask)

    def ready() -> None:
        served()
        loop.call_later(SETTLED_S, _settle)
        log.info("serving on %s", ", ".join(node.addresses))
        if ready_fd is not None:
            with open(ready_fd, "w") as pipe:
                print("ready", *node.addresses, file=pipe)
        if on_ready is not None:
            on_ready()

    await node.run(ready)
    log.info("stopped")
    return 0


def stop_on_signals(stop: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop, signal.Signals(number).name)


def _settle() -> None:
    """What lives now will live on; what the start used for a moment goes back to the system."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    give_back()


def _set_up_logging(home: Home, config: Config, to_file: bool) -> None:
    handler: logging.Handler
    if to_file:
        from logging.handlers import RotatingFileHandler  # it loads pickle

        handler = RotatingFileHandler(home.log, maxBytes=LOG_BYTES, backupCount=1)
    else:
        handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("meshconsole").setLevel(config.log.level.upper())


def _stop_logging() -> None:
    """What is destroyed must not be written anew."""
    root = logging.getLogger()
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = [logging.NullHandler()]


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
