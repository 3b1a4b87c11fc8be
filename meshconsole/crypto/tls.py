"""TLS 1.3 for links, inside any pipe that carries bytes in order. Sans-I/O.

The pipe (a WebSocket, a data channel, whatever relays it) is not trusted. One key exchange group,
hybrid or ML-KEM-1024 by suite; both sides show a self-signed ML-DSA certificate of which only the
key counts, and `accept` decides on that key. No resumption, no early data. The group
is checked once more after the handshake, because there is no public call that sets it.

Theory of operation: `start()`, then feed `receive()` with what the pipe brings and send what
`outbox()` gives after each call, also after one that raised: it then holds the alert that tells
the other side why. Errors are final.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NoReturn

from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey, MLDSA87PublicKey
from OpenSSL import SSL

from meshconsole.core.errors import LocalError, RemoteError, Unavailable
from meshconsole.crypto.link_credentials import CIPHER, LinkCredentials
from meshconsole.crypto.suites import MC2, Suite

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_HANDSHAKE_BYTES", "LinkCredentials", "TlsSession"]

MAX_HANDSHAKE_BYTES = 65536
"""What the other side may send before the handshake is done; an honest one sends 10 to 14 kB."""

_READ_LEN = 65536
_SLICE_LEN = 16384


class TlsSession:
    """One end of one link. `accept(mldsa_public)` says whether the peer's key is welcome.

    It is asked before the peer has proven that it holds the key, so it must have no effects.
    A client is `established` when it has sent its certificate; that the server took it is only
    known when its first bytes arrive, and a refusal raises from the `receive` that follows.
    """

    def __init__(
        self, credentials: LinkCredentials, *, server: bool, accept: Callable[[bytes], bool]
    ) -> None:
        self._suite = credentials.suite
        self._accept = accept
        self._conn = SSL.Connection(credentials.context(server=server), None)
        self._conn.set_app_data(weakref.ref(self))
        if server:
            self._conn.set_accept_state()
        else:
            self._conn.set_connect_state()
        self._plain = bytearray()
        self._handshake_bytes = 0
        self._failure: RemoteError | None = None
        self._callback_error: BaseException | None = None
        self._peer: bytes | None = None
        self._verdict: bool | None = None
        self.established = False
        self.closed = False
        """Whether the peer has ended the stream properly."""
        self._ended = False
        self.group = ""
        """The key exchange group, "" before the handshake is done."""

    @property
    def peer_mldsa_public(self) -> bytes:
        """The peer's proven key. Raises LocalError before the handshake is done."""
        if not self.established or self._peer is None:
            raise LocalError("The peer of a link is not known before its handshake is done.")
        return self._peer

    def start(self) -> None:
        """The client's first bytes go to the outbox; a server waits."""
        self._step()

    def receive(self, data: bytes) -> None:
        """Takes bytes from the pipe. Raises RemoteError when they break the protocol or are refused."""
        self._raise_failure()
        for start in range(0, len(data), _SLICE_LEN):
            piece = data[start : start + _SLICE_LEN]
            if not self.established:
                self._handshake_bytes += len(piece)
                if self._handshake_bytes > MAX_HANDSHAKE_BYTES:
                    self._fail(RemoteError("bad-tls", "The other side's TLS handshake is too long."))
            if self.closed:
                return
            self._conn.bio_write(piece)
            self._step()

    def receive_eof(self) -> None:
        """The pipe has ended. Raises RemoteError unless the peer had ended the stream before."""
        self._raise_failure()
        if not self.closed and not self._ended:
            what = "link" if self.established else "TLS handshake"
            self._fail(RemoteError("truncated", f"The {what} was cut off."))

    def send(self, plaintext: bytes) -> None:
        """Encrypts into the outbox. Raises Unavailable when either side has ended the link."""
        self._raise_failure()
        if not self.established:
            raise LocalError("A link cannot be written to before its handshake is done.")
        if self.closed or self._ended:
            raise Unavailable("The link is closed.")
        if not plaintext:
            return
        try:
            self._conn.sendall(plaintext)
        except SSL.Error as error:
            self._fail_with(error)

    def outbox(self) -> bytes:
        """What must go into the pipe now; b"" when nothing must."""
        pieces: list[bytes] = []
        while True:
            try:
                pieces.append(self._conn.bio_read(_READ_LEN))
            except SSL.WantReadError:
                return b"".join(pieces)

    def take(self) -> bytes:
        """The plaintext received since the last call."""
        plain = bytes(self._plain)
        self._plain.clear()
        return plain

    def export(self, label: bytes, length: int = 32, context: bytes = b"") -> bytes:
        """Keying material that both ends share and nobody between them knows (RFC 8446 §7.5)."""
        if not self.established:
            raise LocalError("A link has no exporter before its handshake is done.")
        return self._conn.export_keying_material(label, length, context)

    def close(self) -> None:
        """Ends our side of the stream; the outbox then holds the proper end."""
        if self._ended or self._failure is not None:
            return
        self._ended = True
        if self.established:
            try:
                self._conn.shutdown()
            except SSL.Error as error:
                self._fail_with(error)

    def _step(self) -> None:
        try:
            if not self.established:
                self._conn.do_handshake()
                self._finish_handshake()
            while True:
                self._plain += self._conn.recv(_READ_LEN)
        except SSL.WantReadError:
            return
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            self._fail_with(error)

    def _finish_handshake(self) -> None:
        conn = self._conn
        group = conn.get_group_name() or ""
        if (
            self._peer is None
            or self._verdict is not True
            or group != self._suite.tls_group
            or conn.get_protocol_version_name() != "TLSv1.3"
            or conn.get_cipher_name() != CIPHER
        ):
            self._fail(RemoteError("not-post-quantum", _NOT_POST_QUANTUM.format(suite=self._suite)))
        self.group = group
        self.established = True

    def decide(self, key: MLDSA65PublicKey | MLDSA87PublicKey | None) -> bool:
        """OpenSSL asks about the peer's certificate, several times; the first answer stands."""
        if self._verdict is None:
            self._verdict = False
            wanted = MLDSA87PublicKey if self._suite.id == MC2.id else MLDSA65PublicKey
            if isinstance(key, wanted):
                self._peer = key.public_bytes_raw()
                try:
                    self._verdict = bool(self._accept(self._peer))
                except Exception as error:
                    # C code calls this: the error is raised when it has returned.
                    self._callback_error = error
        return self._verdict

    def _fail_with(self, error: SSL.Error) -> NoReturn:
        if self._callback_error is not None:
            self._failure = RemoteError("unknown-peer", "The other device could not be looked up.")
            raise self._callback_error
        if self._verdict is False and not self.established:
            self._fail(RemoteError("unknown-peer", "The other device is not known to this one."))
        self._fail(_as_remote_error(error, self._suite))

    def _fail(self, failure: RemoteError) -> NoReturn:
        self._failure = failure
        raise failure

    def _raise_failure(self) -> None:
        if self._failure is not None:
            # A new one each time: an exception that is raised again keeps every traceback it ever had.
            raise RemoteError(self._failure.code, self._failure.sentence)


_NOT_POST_QUANTUM = "The other side does not speak TLS 1.3 with {suite.tls_group} and {suite.mldsa}."

_REASONS_NOT_POST_QUANTUM = frozenset(
    {
        "no suitable key share",
        "no suitable groups",
        "no suitable signature algorithm",
        "no shared signature algorithms",
        "no shared cipher",
        "unsupported protocol",
        "wrong signature type",
        "bad key share",
        "peer did not return a certificate",
    }
)
_REASONS_UNKNOWN_TO_PEER = ("unknown ca", "bad certificate", "certificate unknown", "access denied")


def _as_remote_error(error: SSL.Error, suite: Suite) -> RemoteError:
    reason = _reason(error)
    if (
        reason in _REASONS_NOT_POST_QUANTUM
        or "alert handshake failure" in reason
        or "alert protocol" in reason
    ):
        return RemoteError("not-post-quantum", _NOT_POST_QUANTUM.format(suite=suite))
    if "alert" in reason:
        if any(known in reason for known in _REASONS_UNKNOWN_TO_PEER):
            return RemoteError("refused-by-peer", "The other device does not know this one.")
        return RemoteError("refused-by-peer", f"The other side ended the link: {reason}.")
    return RemoteError("bad-tls", f"The other side broke the TLS protocol: {reason}.")


def _reason(error: SSL.Error) -> str:
    """OpenSSL's own words, which come from its tables and not from the peer."""
    if error.args and isinstance(error.args[0], list) and error.args[0]:
        return str(error.args[0][-1][-1]) or "unknown error"
    return "unexpected end" if isinstance(error, SSL.SysCallError) else "unknown error"
