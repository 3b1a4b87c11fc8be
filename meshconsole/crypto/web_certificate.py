"""The certificate with which plain Nostr clients reach the relay by wss://: one given, or one made here.

A certificate made here proves nothing to a client that has not been told its fingerprint; it keeps who only
listens from reading along. Links of the team do not use it: see tls.py.
"""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.crypto.private_file import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cryptography.x509 import GeneralName

VALID_DAYS = 3650
BACKDATED_DAYS = 1
"""For devices whose clock is behind."""


class WebCertificate:
    """`certificate` and `key` are PEM files. `context` is for servers; `reload` takes what they hold now."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])
        self.reload()

    def reload(self) -> None:
        """For handshakes from now on. Raises Fatal, and then those before go on to be used."""
        certificate, key = self._files
        try:
            trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trial.load_cert_chain(certificate, key, password=_no_password)
            self.context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            raise Fatal(
                f"The certificate {certificate} cannot be used with the key {key}: {_reason(error)}.",
                hint="Check relay.tls_certificate and relay.tls_key.",
            ) from error


def make_certificate(certificate: Path, key: Path, names: Iterable[str], now: float) -> None:
    """ECDSA P-256, signed by itself, for these host names and addresses (RFC 5280). Raises Fatal."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    secret = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "meshconsole relay")])
    today = datetime.fromtimestamp(now, UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=BACKDATED_DAYS))
        .not_valid_after(today + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    bare = secret.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    write_private(key, bare)
    write_private(certificate, made.public_bytes(pem))


def _name(text: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return x509.DNSName(text)


def _no_password() -> str:
    raise ValueError("the key has a passphrase of its own, which nobody could type at a start")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no certificate and key in PEM").replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)
