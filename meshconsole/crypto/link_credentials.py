"""What a device shows on its links: a self-signed ML-DSA certificate, and how OpenSSL must use it.

One key exchange group, one signature algorithm, one cipher; nothing is kept between sessions. The
peer's certificate is not judged by any authority: its key goes to the session, which decides.
"""

from __future__ import annotations

import datetime
import warnings
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.mldsa import (
    MLDSA65PrivateKey,
    MLDSA65PublicKey,
    MLDSA87PrivateKey,
    MLDSA87PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL import SSL, crypto

from meshconsole.core.errors import Fatal
from meshconsole.crypto.suites import MC2, Suite

if TYPE_CHECKING:
    from meshconsole.crypto.identity import Identity

CIPHER = "TLS_AES_256_GCM_SHA384"

_VALID_FROM = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
_VALID_TO = datetime.datetime(9999, 1, 1, tzinfo=datetime.UTC)


class LinkCredentials:
    """This device's certificate and the two OpenSSL contexts that all its links share."""

    def __init__(self, suite: Suite, mldsa_seed: bytes) -> None:
        self.suite = suite
        private: MLDSA65PrivateKey | MLDSA87PrivateKey
        if suite.id == MC2.id:
            private = MLDSA87PrivateKey.from_seed_bytes(mldsa_seed)
        else:
            private = MLDSA65PrivateKey.from_seed_bytes(mldsa_seed)
        certificate = _self_signed(private)
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._client = _context(suite, SSL.TLS_CLIENT_METHOD, certificate, pem)
        self._server = _context(suite, SSL.TLS_SERVER_METHOD, certificate, pem)

    @classmethod
    def make(cls, identity: Identity) -> LinkCredentials:
        return cls(identity.suite, identity.mldsa_seed)

    def context(self, *, server: bool) -> SSL.Context:
        return self._server if server else self._client


def _self_signed(private: MLDSA65PrivateKey | MLDSA87PrivateKey) -> x509.Certificate:
    """A certificate that says nothing but the key. Valid for ever: a Pi without a clock lives in 1970."""
    nobody = x509.Name([])
    return (
        x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(_VALID_FROM)
        .not_valid_after(_VALID_TO)
        .sign(private, None)
    )


def _context(suite: Suite, method: int, certificate: x509.Certificate, key_pem: bytes) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_tls13_ciphersuites(CIPHER.encode())
    # A ticket would carry the client's certificate back, 11 kB. What is left of it are two session
    # numbers of 79 bytes which mean nothing, since sessions are not kept.
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    _restrict(context, suite)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    context.set_verify_depth(1)
    context.use_certificate(certificate)
    with warnings.catch_warnings():
        # pyOpenSSL takes other keys as `cryptography` objects, but ML-DSA ones only in this way.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, key_pem))
    context.check_privatekey()
    return context


def _restrict(context: SSL.Context, suite: Suite) -> None:
    """One group and one signature algorithm. pyOpenSSL has no public call for either."""
    lib: Any = SSL._lib  # type: ignore[attr-defined]
    handle: Any = context._context
    groups_set = lib.SSL_CTX_set1_curves_list(handle, suite.tls_group.encode())
    signatures_set = lib.SSL_CTX_set1_sigalgs_list(handle, suite.mldsa.replace("-", "").lower().encode())
    if groups_set != 1 or signatures_set != 1:
        raise Fatal(
            f"The TLS library does not know {suite.tls_group} or {suite.mldsa}.",
            hint="Reinstall meshconsole with the versions of its lock file.",
        )


def _verify(conn: SSL.Connection, certificate: crypto.X509, _error: int, depth: int, _ok: int) -> bool:
    """Only the leaf's key counts: nobody issues our certificates, so chain errors say nothing."""
    session = conn.get_app_data()()
    if session is None or depth != 0:
        return False
    try:
        key = certificate.to_cryptography().public_key()
    except Exception:
        # Hostile certificates: pyOpenSSL would keep the error in the context that all links share
        # and raise it from another link. A key that cannot be read is a key that is not welcome.
        key = None
    return bool(session.decide(key if isinstance(key, MLDSA65PublicKey | MLDSA87PublicKey) else None))
