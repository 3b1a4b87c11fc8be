"""Starting a node as a child in a session of its own, so that it outlives the console that started it.

The passphrase goes through a pipe, never through arguments or the environment, where any process
of the same user could read it. The child answers on a second pipe: one line, "ready" or a sentence.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    from meshconsole.core.home import Home

START_TIMEOUT_S = 60.0


class ChildOrder(msgspec.Struct, frozen=True):
    """What the parent writes to the child's standard input."""

    home: str
    passphrase: str | None
    settings: tuple[str, ...] = ()


class ChildAnswer(msgspec.Struct, frozen=True):
    """What the child writes back once: ready, or why not."""

    ready: bool
    sentence: str = ""
    hint: str = ""
    exit_code: int = 1


def ensure_node(home: Home, passphrase: str | None, settings: tuple[str, ...] = ()) -> None:
    """Returns when a node serves this home's control socket. Raises Fatal with the child's reason."""
    read_end, write_end = os.pipe()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, read_end)
        child, answer = _start(
            ChildOrder(str(home.path.absolute()), passphrase, settings), read_end, write_end
        )
    if answer is None:
        raise Fatal("The node did not start.", hint=f"Its log may tell why: {home.log}")
    if not answer.ready:
        child.wait(timeout=5)
        raise Fatal(answer.sentence, hint=answer.hint, exit_code=answer.exit_code)
    child.returncode = 0  # it outlives us on purpose; nothing here waits for it


def _start(
    order: ChildOrder, read_end: int, write_end: int
) -> tuple[subprocess.Popen[bytes], ChildAnswer | None]:
    """The child, and what it answered; closes `write_end`, of which the child has its own."""
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "meshconsole.node.child", str(write_end)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(write_end,),
            cwd="/",
            env={name: value for name, value in os.environ.items() if name != "MESHCONSOLE_PASSPHRASE"},
        )
    finally:
        os.close(write_end)
    assert child.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died; its answer, or the lack of one, tells
        child.stdin.write(msgspec.json.encode(order))
        child.stdin.close()
    return child, _read_answer(read_end)


def _read_answer(descriptor: int) -> ChildAnswer | None:
    data = b""
    while select.select([descriptor], [], [], START_TIMEOUT_S)[0]:
        chunk = os.read(descriptor, 65536)
        if not chunk:
            break
        data += chunk
        if data.endswith(b"\n"):
            return msgspec.json.decode(data, type=ChildAnswer)
    return None
