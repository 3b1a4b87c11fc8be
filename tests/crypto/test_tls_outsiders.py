"""Peers with other TLS than ours: classical groups or certificates, older versions, chains."""

from __future__ import annotations

import datetime
from contextlib import suppress
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from OpenSSL import SSL

from meshconsole.crypto import link_credentials
from meshconsole.crypto.suites import MC1, Suite
from meshconsole.crypto.tls import LinkCredentials, TlsSession

from .links import anybody, client_and_server, credentials, refusal


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
