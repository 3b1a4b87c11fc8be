"""Links under hostile bytes: no byte that crashes, none that passes, none that is waited for without end."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import RemoteError
from meshconsole.crypto.suites import MC1
from meshconsole.crypto.tls import MAX_HANDSHAKE_BYTES, TlsSession

from .links import LABEL, anybody, client_and_server, credentials, linked, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator


STAGES = ["client hello", "server flight", "client flight", "data up", "data down"]


def stages() -> Iterator[tuple[TlsSession, bytes]]:
    """Who is about to receive what, through a whole link."""
    client, server = client_and_server()
    for sender, receiver in ((client, server), (server, client), (client, server)):
        data = sender.outbox()
        yield receiver, data
        receiver.receive(data)
    for sender, receiver in ((client, server), (server, client)):
        sender.send(b"payload")
        data = sender.outbox()
        yield receiver, data
        receiver.receive(data)


def at_stage(number: int) -> tuple[TlsSession, bytes]:
    for n, (receiver, data) in enumerate(stages()):
        if n == number:
            return receiver, data
    raise AssertionError(number)


@pytest.mark.parametrize("stage", range(len(STAGES)), ids=STAGES)
@pytest.mark.parametrize(
    "garbage",
    [b"\0" * 100, b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 20_000, b"\x16\x03\x01\xff\xff" + bytes(200)],
    ids=["zeros", "http", "ones", "long record"],
)
def test_garbage_is_refused_at_every_stage(stage: int, garbage: bytes) -> None:
    receiver, _ = at_stage(stage)
    with pytest.raises(RemoteError) as caught:
        receiver.receive(garbage)
    assert caught.value.sentence.endswith(".")
    assert receiver.take() == b""
    with pytest.raises(RemoteError):
        receiver.receive(b"more")
    with pytest.raises(RemoteError):
        receiver.send(b"x")


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(STAGES) - 1), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_a_changed_bit_ends_the_link_or_means_nothing(stage: int, where: float, bit: int) -> None:
    """The version field of an unprotected record means nothing (RFC 8446 §5.1); all else must be noticed
    before both ends agree, and no payload may arrive changed."""
    client, server = client_and_server()
    arrived: list[bytes] = []
    with suppress(RemoteError):
        for number in range(len(STAGES)):
            sender, receiver = (server, client) if number in (1, 4) else (client, server)
            if number > 2:
                if not sender.established:
                    return
                sender.send(b"payload")
            data = bytearray(sender.outbox())
            if number == stage:
                data[int(where * len(data))] ^= 1 << bit
            receiver.receive(bytes(data))
            arrived.append(receiver.take())
    assert set(arrived) <= {b"", b"payload"}
    if client.established and server.established:
        assert client.export(LABEL) == server.export(LABEL)
    if stage > 2 and len(arrived) > stage:
        assert arrived[stage] == b"", "a changed length field may only make the receiver wait"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(STAGES) - 1), st.binary(min_size=1, max_size=300))
def test_any_bytes_are_refused_or_waited_upon(stage: int, garbage: bytes) -> None:
    receiver, _ = at_stage(stage)
    with suppress(RemoteError):
        receiver.receive(garbage)
    assert receiver.take() == b""
    assert stage > 2 or not receiver.established


@pytest.mark.parametrize("stage", range(len(STAGES)), ids=STAGES)
def test_a_cut_is_noticed_at_every_stage(stage: int) -> None:
    receiver, data = at_stage(stage)
    receiver.receive(data[: len(data) // 2])
    with pytest.raises(RemoteError, match="cut off") as caught:
        receiver.receive_eof()
    assert caught.value.code == "truncated"


def test_an_endless_handshake_is_refused() -> None:
    server = TlsSession(credentials("bob", MC1), server=True, accept=anybody)
    # A handshake message that announces 16 MiB, in records of 1 KiB.
    message = b"\x01\xff\xff\xff" + bytes(1 << 17)
    records = [message[at : at + 1024] for at in range(0, len(message), 1024)]
    stream = b"".join(b"\x16\x03\x01" + len(r).to_bytes(2, "big") + r for r in records)
    taken = 0
    with suppress(RemoteError):
        for at in range(0, len(stream), 1024):
            server.receive(stream[at : at + 1024])
            taken += 1024
    assert taken <= MAX_HANDSHAKE_BYTES


def test_a_slow_handshake_of_empty_bytes_costs_nothing() -> None:
    server = TlsSession(credentials("bob", MC1), server=True, accept=anybody)
    for _ in range(1000):
        server.receive(b"")
    assert server.outbox() == b""
    assert not server.established


def test_a_bound_stands_before_the_handshake_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshconsole.crypto.tls.MAX_HANDSHAKE_BYTES", 1000)
    client, server = client_and_server()
    assert refusal(server, client.outbox()).code == "bad-tls"


def test_a_replayed_record_is_refused() -> None:
    client, server = linked()
    client.send(b"once")
    record = client.outbox()
    server.receive(record)
    assert server.take() == b"once"
    with pytest.raises(RemoteError):
        server.receive(record)
    assert server.take() == b""


def test_records_of_another_link_are_refused() -> None:
    client, _ = linked()
    _, server = linked()
    client.send(b"misdirected")
    with pytest.raises(RemoteError):
        server.receive(client.outbox())


def test_a_recorded_handshake_is_worthless_later() -> None:
    """The client's flight of one link proves nothing on another."""
    client, server = client_and_server()
    server.receive(client.outbox())
    client.receive(server.outbox())
    recorded = client.outbox()
    other_client, other_server = client_and_server()
    other_server.receive(other_client.outbox())
    other_server.outbox()
    refusal(other_server, recorded)
