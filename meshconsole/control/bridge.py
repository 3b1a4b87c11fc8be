"""A control socket that is on another machine, reached by a command such as `ssh hub dial-stdio`.

Here is a socket of this user's own, and each connection to it starts the command, with the connection as its
standard input and output. There `pass_on` joins those to the node's socket. The node asks the kernel who is
at its end, so that the account over there decides what may be done.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.control.address import short_address
from meshconsole.control.blocking import no_node

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHUNK_BYTES = 65536
LAST_WORDS_BYTES = 400


class Bridge:
    """`path` is the socket of this side."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self.path = folder / "control.sock"
        self._words = folder / "words"
        self._command = command
        self._started: list[subprocess.Popen[bytes]] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, name="bridge", daemon=True)
        self._thread.start()

    @property
    def last_words(self) -> str:
        """What the command has said on its standard error: why it reached nobody."""
        try:
            return self._words.read_bytes()[-LAST_WORDS_BYTES:].decode(errors="replace").strip()
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        """The commands end with their connections."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept(), which closing does not
        self._thread.join()
        self._listener.close()
        for process in self._started:
            process.terminate()
            process.wait()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, self._words.open("ab") as words:
                self._started = [process for process in self._started if process.poll() is None]
                try:
                    process = subprocess.Popen(
                        self._command, stdin=connection.fileno(), stdout=connection.fileno(), stderr=words
                    )
                except OSError as error:
                    words.write(f"{self._command[0]}: {error.strerror}\n".encode())
                else:
                    self._started.append(process)


@contextmanager
def bridge(command: Sequence[str]) -> Iterator[Bridge]:
    with tempfile.TemporaryDirectory(prefix="meshconsole-") as folder:
        made = Bridge(Path(folder), command)
        try:
            yield made
        finally:
            made.close()


def pass_on(path: Path, source: int, sink: int) -> None:
    """Between the node's socket and two open files, until either side ends. Raises Unavailable."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as node, selectors.DefaultSelector() as waiting:
        try:
            with short_address(path) as address:
                node.connect(address)
        except OSError as error:
            raise no_node(error) from error
        waiting.register(source, selectors.EVENT_READ)
        waiting.register(node, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                try:
                    data = os.read(key.fd, CHUNK_BYTES)
                    if not data:
                        return
                    _write_all(sink if key.fileobj is node else node.fileno(), data)
                except ConnectionError:
                    return


def _write_all(sink: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(sink, view) :]
