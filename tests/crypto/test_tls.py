"""Links: both keys proven and wanted, post-quantum or nothing, and no bytes that crash or pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from meshconsole.core.errors import LocalError, RemoteError, Unavailable
from meshconsole.crypto import link_credentials
from meshconsole.crypto.suites import MC1, MC2, Suite
from meshconsole.crypto.tls import MAX_HANDSHAKE_BYTES, LinkCredentials, TlsSession

from .conftest import fixed_identity
from .links import LABEL, anybody, client_and_server, credentials, linked, nobody, only, pump, refusal

if TYPE_CHECKING:
    from meshconsole.crypto.identity import Identity


def test_two_devices_that_know_each_other_are_linked(suite: Suite, alice: Identity, bob: Identity) -> None:
    client, server = client_and_server(suite, only(bob), only(alice))
    pump(client, server)
    assert client.established
    assert server.established
    assert client.peer_mldsa_public == bob.mldsa_public
    assert server.peer_mldsa_public == alice.mldsa_public
    assert client.group == server.group == suite.tls_group


def test_bytes_pass_both_ways_whole_and_in_order(suite: Suite) -> None:
    client, server = linked(suite)
    up, down = bytes(range(256)) * 2000, b"down" * 5
    client.send(up)
    server.send(down)
    server.send(b"")
    pump(client, server)
    assert server.take() == up
    assert client.take() == down
    assert client.take() == b""


def test_a_pipe_may_cut_the_bytes_anywhere() -> None:
    client, server = client_and_server()
    for _ in range(4):
        for sender, receiver in ((client, server), (server, client)):
            data = sender.outbox()
            for at in range(0, len(data), 97):
                receiver.receive(data[at : at + 97])
    assert client.established
    assert server.established


def test_bytes_that_come_with_the_end_of_the_handshake_are_kept() -> None:
    client, server = client_and_server()
    server.receive(client.outbox())
    client.receive(server.outbox())
    client.send(b"x" * 200_000)
    server.receive(client.outbox())
    assert server.take() == b"x" * 200_000


def test_what_follows_the_handshake_is_small_and_resumes_nothing() -> None:
    asked: list[bytes] = []

    def accept(key: bytes) -> bool:
        asked.append(key)
        return True

    client, server = client_and_server(server_accepts=accept)
    server.receive(client.outbox())
    client.receive(server.outbox())
    server.receive(client.outbox())
    unasked = server.outbox()
    assert len(unasked) < 200
    client.receive(unasked)
    session = client._conn.get_session()
    assert session is not None

    again = TlsSession(credentials("alice", MC1), server=False, accept=anybody)
    again._conn.set_session(session)
    server = TlsSession(credentials("bob", MC1), server=True, accept=accept)
    again.start()
    pump(again, server)
    assert server.established
    assert len(asked) == 2


def test_the_handshake_stays_small(suite: Suite) -> None:
    client, server = client_and_server(suite)
    hello = client.outbox()
    server.receive(hello)
    answer = server.outbox()
    client.receive(answer)
    total = len(hello) + len(answer) + len(client.outbox())
    assert total < (21_000 if suite is MC1 else 29_000)
    assert total < MAX_HANDSHAKE_BYTES


def test_both_ends_export_the_same_and_no_other_link_does(suite: Suite) -> None:
    client, server = linked(suite)
    assert client.export(LABEL, 48, b"ctx") == server.export(LABEL, 48, b"ctx")
    assert len(client.export(LABEL, 48)) == 48
    exported = {
        client.export(LABEL),
        client.export(LABEL, context=b"ctx"),
        client.export(LABEL + b"2"),
        linked(suite)[0].export(LABEL),
    }
    assert len(exported) == 4


# Who is refused


def test_an_unknown_client_is_refused_and_told_so(suite: Suite) -> None:
    client, server = client_and_server(suite, server_accepts=nobody)
    server.receive(client.outbox())
    client.receive(server.outbox())
    error = refusal(server, client.outbox())
    assert error.code == "unknown-peer"
    with pytest.raises(RemoteError, match="does not know this one") as caught:
        client.receive(server.outbox())
    assert caught.value.code == "refused-by-peer"


def test_an_unknown_server_is_refused_and_told_so(suite: Suite) -> None:
    client, server = client_and_server(suite, client_accepts=nobody)
    server.receive(client.outbox())
    error = refusal(client, server.outbox())
    assert error.code == "unknown-peer"
    assert refusal(server, client.outbox()).code == "refused-by-peer"


def test_a_refused_server_never_learns_who_asked() -> None:
    seen: list[bytes] = []

    def record(key: bytes) -> bool:
        seen.append(key)
        return True

    client, server = client_and_server(client_accepts=nobody, server_accepts=record)
    server.receive(client.outbox())
    refusal(client, server.outbox())
    refusal(server, client.outbox())
    assert seen == []


def test_another_member_than_the_one_that_was_dialled_is_refused(bob: Identity, suite: Suite) -> None:
    client = TlsSession(credentials("alice", suite), server=False, accept=only(bob))
    server = TlsSession(credentials("mallory", suite), server=True, accept=anybody)
    client.start()
    server.receive(client.outbox())
    assert refusal(client, server.outbox()).code == "unknown-peer"


def test_the_other_suite_is_refused() -> None:
    for mine, theirs in ((MC1, MC2), (MC2, MC1)):
        client = TlsSession(credentials("alice", mine), server=False, accept=anybody)
        server = TlsSession(credentials("bob", theirs), server=True, accept=anybody)
        client.start()
        error = refusal(server, client.outbox())
        assert error.code == "not-post-quantum"
        assert theirs.tls_group in error.sentence
        assert refusal(client, server.outbox()).code == "not-post-quantum"


def test_a_question_that_fails_is_our_error_and_stays_on_its_link() -> None:
    def broken(_: bytes) -> bool:
        raise LocalError("the roster could not be read")

    client, server = client_and_server(server_accepts=broken)
    bystander_client, bystander_server = client_and_server()
    server.receive(client.outbox())
    client.receive(server.outbox())
    last = client.outbox()
    with pytest.raises(LocalError, match="roster"):
        server.receive(last)
    assert not server.established
    with pytest.raises(RemoteError):
        server.receive(b"more")
    pump(bystander_client, bystander_server)
    assert bystander_server.established


# The end of a link


def test_a_proper_end_is_not_a_cut() -> None:
    client, server = linked()
    client.send(b"last words")
    client.close()
    server.receive(client.outbox())
    assert server.take() == b"last words"
    assert server.closed
    server.receive_eof()
    server.receive(b"whatever follows means nothing")
    assert server.take() == b""
    with pytest.raises(Unavailable):
        server.send(b"x")
    with pytest.raises(Unavailable):
        client.send(b"x")


def test_closing_twice_or_too_early_is_harmless() -> None:
    client, server = client_and_server()
    client.close()
    client.close()
    client.receive_eof()
    assert not server.closed
    linked_client, _ = linked()
    linked_client.close()
    size = len(linked_client.outbox())
    linked_client.close()
    assert size > 0
    assert linked_client.outbox() == b""


def test_a_link_without_a_handshake_has_no_peer_and_takes_no_data() -> None:
    client, _ = client_and_server()
    for call in (lambda: client.send(b"x"), lambda: client.export(LABEL), lambda: client.peer_mldsa_public):
        with pytest.raises(LocalError):
            call()
    assert client.group == ""


def test_the_certificate_says_nothing_but_the_key(suite: Suite) -> None:
    seen: list[x509.Certificate] = []
    real = link_credentials._verify

    def watch(conn: Any, certificate: Any, *rest: Any) -> bool:  # noqa: ANN401
        seen.append(certificate.to_cryptography())
        return real(conn, certificate, *rest)

    identity = fixed_identity("alice", suite)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(link_credentials, "_verify", watch)
        server = TlsSession(LinkCredentials.make(identity), server=True, accept=anybody)
    client = TlsSession(credentials("bob", suite), server=False, accept=anybody)
    client.start()
    server.receive(client.outbox())
    client.receive(server.outbox())
    server.receive(client.outbox())
    certificate = seen[0]
    assert certificate.subject == certificate.issuer == x509.Name([])
    assert list(certificate.extensions) == []
    assert certificate.serial_number == 1
    assert len(certificate.public_bytes(Encoding.DER)) < suite.mldsa_public_len + suite.signature_len + 120
