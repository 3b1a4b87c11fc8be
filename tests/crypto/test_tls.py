"""Links: both keys proven and wanted, post-quantum or nothing, and no bytes that crash or pass."""

from __future__ import annotations

import datetime
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from meshconsole.core.errors import LocalError, RemoteError, Unavailable
from meshconsole.crypto import link_credentials
from meshconsole.crypto.suites import MC1, MC2, Suite
from meshconsole.crypto.tls import MAX_HANDSHAKE_BYTES, LinkCredentials, TlsSession

from .conftest import fixed_identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from meshconsole.crypto.identity import Identity

_CREDENTIALS: dict[tuple[str, int], LinkCredentials] = {}
LABEL = b"EXPORTER-meshconsole-test"


def credentials(name: str, suite: Suite) -> LinkCredentials:
    key = (name, suite.id)
    if key not in _CREDENTIALS:
        _CREDENTIALS[key] = LinkCredentials.make(fixed_identity(name, suite))
    return _CREDENTIALS[key]


def anybody(_: bytes) -> bool:
    return True


def nobody(_: bytes) -> bool:
    return False


def only(identity: Identity) -> Callable[[bytes], bool]:
    return lambda key: key == identity.mldsa_public


def client_and_server(
    suite: Suite = MC1,
    client_accepts: Callable[[bytes], bool] = anybody,
    server_accepts: Callable[[bytes], bool] = anybody,
) -> tuple[TlsSession, TlsSession]:
    client = TlsSession(credentials("alice", suite), server=False, accept=client_accepts)
    server = TlsSession(credentials("bob", suite), server=True, accept=server_accepts)
    client.start()
    server.start()
    return client, server


def pump(client: TlsSession, server: TlsSession) -> None:
    """Carries bytes both ways until both are silent."""
    while True:
        up, down = client.outbox(), server.outbox()
        if not up and not down:
            return
        server.receive(up)
        client.receive(down)


def linked(suite: Suite = MC1) -> tuple[TlsSession, TlsSession]:
    client, server = client_and_server(suite)
    pump(client, server)
    assert client.established
    assert server.established
    return client, server


def refusal(session: TlsSession, data: bytes) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        session.receive(data)
    assert not session.established
    return caught.value


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


# Peers that are not ours


class Outsider:
    """A TLS peer with settings of its own, over the same memory."""

    def __init__(self, context: SSL.Context, *, server: bool) -> None:
        self.conn = SSL.Connection(context, None)
        self.conn.set_accept_state() if server else self.conn.set_connect_state()

    def step(self, data: bytes = b"") -> bytes:
        """Takes bytes, gives the answer; protocol errors of its own end in an alert like any other."""
        if data:
            self.conn.bio_write(data)
        with suppress(SSL.Error):
            self.conn.do_handshake()
        out = b""
        while True:
            try:
                out += self.conn.bio_read(65536)
            except SSL.WantReadError:
                return out


def outside_context(server: bool, certificate: tuple[x509.Certificate, Any] | None = None) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD if server else SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
    if certificate:
        context.use_certificate(certificate[0])
        context.use_privatekey(certificate[1])
    return context


def groups(context: SSL.Context, names: bytes) -> SSL.Context:
    lib: Any = SSL._lib  # type: ignore[attr-defined]
    assert lib.SSL_CTX_set1_curves_list(context._context, names) == 1
    return context


def classical_certificate() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now.replace(year=2040))
    return builder.sign(key, hashes.SHA256()), key


def test_a_client_with_classical_groups_only_is_refused(suite: Suite) -> None:
    client = Outsider(groups(outside_context(False), b"X25519:P-256"), server=False)
    server = TlsSession(credentials("bob", suite), server=True, accept=anybody)
    error = refusal(server, client.step())
    assert error.code == "not-post-quantum"
    assert suite.tls_group in error.sentence
    assert server.outbox()


def test_a_server_with_classical_groups_only_is_refused(suite: Suite) -> None:
    context = groups(outside_context(True, classical_certificate()), b"X25519:P-256")
    server = Outsider(context, server=True)
    client = TlsSession(credentials("alice", suite), server=False, accept=anybody)
    client.start()
    assert refusal(client, server.step(client.outbox())).code == "not-post-quantum"


def test_a_server_with_a_classical_certificate_is_refused(suite: Suite) -> None:
    context = groups(outside_context(True, classical_certificate()), suite.tls_group.encode())
    server = Outsider(context, server=True)
    client = TlsSession(credentials("alice", suite), server=False, accept=anybody)
    client.start()
    assert refusal(client, server.step(client.outbox())).code == "not-post-quantum"


def test_a_client_with_a_classical_certificate_is_refused(suite: Suite) -> None:
    context = groups(outside_context(False, classical_certificate()), suite.tls_group.encode())
    assert refused_by_server(Outsider(context, server=False), suite)


def test_a_client_without_a_certificate_is_refused(suite: Suite) -> None:
    context = groups(outside_context(False), suite.tls_group.encode())
    assert refused_by_server(Outsider(context, server=False), suite)


def refused_by_server(client: Outsider, suite: Suite) -> bool:
    asked: list[bytes] = []

    def accept(key: bytes) -> bool:
        asked.append(key)
        return True

    server = TlsSession(credentials("bob", suite), server=True, accept=accept)
    server.receive(client.step())
    last = client.step(server.outbox())
    refusal(server, last)
    return not asked


def test_tls_of_an_older_version_is_refused() -> None:
    context = outside_context(False)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    server = TlsSession(credentials("bob", MC1), server=True, accept=anybody)
    assert refusal(server, Outsider(context, server=False).step()).code == "not-post-quantum"


def test_a_certificate_made_for_our_key_by_another_is_judged_by_its_leaf_alone() -> None:
    """A chain says nothing here: a wanted key under somebody's authority is not a wanted key."""
    authority = MLDSA65PrivateKey.generate()
    leaf = MLDSA65PrivateKey.from_seed_bytes(b"l" * 32)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    when = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    def certificate(subject: x509.Name, key: Any) -> x509.Certificate:  # noqa: ANN401
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        builder = builder.serial_number(2).not_valid_before(when).not_valid_after(when.replace(year=2040))
        return builder.sign(authority, None)

    maker = LinkCredentials(MC1, b"l" * 32)
    context = maker.context(server=False)
    context.use_certificate(certificate(x509.Name([]), leaf.public_key()))
    context.add_extra_chain_cert(certificate(issuer, authority.public_key()))
    wanted: list[bytes] = []

    def accept(key: bytes) -> bool:
        wanted.append(key)
        return key == leaf.public_key().public_bytes_raw()

    client = TlsSession(maker, server=False, accept=anybody)
    server = TlsSession(credentials("bob", MC1), server=True, accept=accept)
    client.start()
    server.receive(client.outbox())
    client.receive(server.outbox())
    refusal(server, client.outbox())
    assert wanted == []


def test_the_group_is_checked_again_after_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the private call that restricts the groups ever stop to do so."""
    client, server = client_and_server()
    monkeypatch.setattr(SSL.Connection, "get_group_name", lambda _: "x25519")
    server.receive(client.outbox())
    assert refusal(client, server.outbox()).code == "not-post-quantum"


def test_a_library_without_the_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from meshconsole.core.errors import Fatal

    class Refusing:
        @staticmethod
        def SSL_CTX_set1_curves_list(*_: object) -> int:
            return 0

        @staticmethod
        def SSL_CTX_set1_sigalgs_list(*_: object) -> int:
            return 1

    context = SSL.Context(SSL.TLS_METHOD)
    monkeypatch.setattr(SSL, "_lib", Refusing)
    with pytest.raises(Fatal, match="X25519MLKEM768"):
        link_credentials._restrict(context, MC1)


# Hostile bytes


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
    if stage > 2:
        assert arrived[3:] in ([], [b""], [b"payload"], [b"payload", b""])


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
