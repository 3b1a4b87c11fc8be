"""A process that checks events for its parent: `python -m meshconsole.relay.verifier SOCKET_FD`.

Batches come over the socket pair that it was started with, answers go back on it; each is a length of
four bytes and that many bytes of msgpack. An empty one comes first, when it is ready. It ends when the
parent's end closes, by whatever way.
"""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.verdict import Verdict
from meshconsole.relay.checking import check

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = 4


class Question(msgspec.Struct, array_like=True, gc=False):
    data: bytes
    claimed: str
    max_bytes: int


class Genuine(msgspec.Struct, array_like=True, gc=False, tag=True):
    """`raw` is the event's one spelling, empty where it came in it."""

    raw: bytes


class Wrong(msgspec.Struct, array_like=True, gc=False, tag=True):
    verdict: Verdict


Answer = Genuine | Wrong

encode = msgspec.msgpack.Encoder().encode
read_questions = msgspec.msgpack.Decoder(list[Question]).decode
read_answers = msgspec.msgpack.Decoder(list[Answer]).decode


def answers(questions: Sequence[Question]) -> list[Answer]:
    return [_answer(question) for question in questions]


def _answer(question: Question) -> Answer:
    checked = check(question.data, question.claimed, question.max_bytes)
    if isinstance(checked, Verdict):
        return Wrong(checked)
    return Genuine(b"" if checked.raw == question.data else checked.raw)


def send(connection: socket.socket, body: bytes) -> None:
    connection.sendall(len(body).to_bytes(HEADER, "big") + body)


def receive(connection: socket.socket) -> bytes:
    """Raises EOFError when the other end has closed."""
    return bytes(_exactly(connection, int.from_bytes(_exactly(connection, HEADER), "big")))


def _exactly(connection: socket.socket, count: int) -> bytearray:
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        received = connection.recv_into(view)
        if not received:
            raise EOFError
        view = view[received:]
    return buffer


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the parent ends this process, when its work is done
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            send(connection, b"")
            while True:
                send(connection, encode(answers(read_questions(receive(connection)))))
        except (EOFError, ConnectionError):
            return 0


if __name__ == "__main__":
    raise SystemExit(main())
