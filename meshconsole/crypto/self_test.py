"""What a node checks of its own cryptography before it opens anything: a failure refuses to start.

The provider's known-answer test stands in `known_answers.py`; here is the rest that secrets pass
through: Argon2id, sealed boxes, Nostr signatures, and one TLS session between two ends in memory.
That last one also notices a pyOpenSSL whose private names have changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from meshconsole.core.errors import Fatal, MeshconsoleError
from meshconsole.crypto.known_answers import CONTEXT, MESSAGE
from meshconsole.crypto.providers import choose_provider
from meshconsole.crypto.sealing import unseal
from meshconsole.crypto.tls import LinkCredentials, TlsSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.providers import ProviderSetting
    from meshconsole.crypto.suites import Suite

_ARGON2_TAG = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
"""RFC 9106 §5.3."""

_SEALED = (
    "25af43c54c15553c79db4452a3373a9a7c4d69656479fc4ceb26052927a7183c44d5027db60fae1444338f9910ebfe6e"
    "69f83eb9fdc7ec9e37cf4865b12138648078446ff8c32980fe9b213e79dc567363e7e9eae92feb9f7028ae797b625b4c"
)
"""`known_answers.MESSAGE` sealed under the key 00..1f."""

_SCHNORR_PUBLIC = "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9"
_SCHNORR_SIGNATURE = (
    "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215"
    "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0"
)
"""BIP-340's first test vector: secret key 3, a message of 32 zeros."""


def sound_provider(setting: ProviderSetting, suite: Suite) -> Provider:
    """The provider of the owner's choice, after everything here has been tested. Raises Fatal."""
    provider = choose_provider(setting)
    self_test(suite)
    return provider


def self_test(suite: Suite) -> None:
    """Takes some 20 ms. Raises Fatal, naming what fails."""
    checks: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("Argon2id", _argon2),
        ("the sealing of data", _sealing),
        ("Nostr signatures", _schnorr),
        ("post-quantum TLS", lambda: _tls(suite)),
    )
    for name, check in checks:
        try:
            sound = check()
        except Exception as error:
            # Whatever a broken library raises is an answer too.
            words = error.sentence if isinstance(error, MeshconsoleError) else type(error).__name__
            raise _failed(f"{name}: {words}") from error
        if not sound:
            raise _failed(name)


def _failed(what: str) -> Fatal:
    return Fatal(
        f"The self-test fails at {what.rstrip('.')}.",
        hint="Reinstall meshconsole with the versions of its lock file. Until then nothing is opened here.",
    )


def _argon2() -> bool:
    """With the secret and associated data of the RFC, which ours never uses."""
    argon2 = Argon2id(
        salt=b"\2" * 16, length=32, iterations=3, lanes=4, memory_cost=32, ad=b"\4" * 12, secret=b"\3" * 8
    )
    return argon2.derive(b"\1" * 32).hex() == _ARGON2_TAG


def _sealing() -> bool:
    sealed, key = bytes.fromhex(_SEALED), bytes(range(32))
    if unseal(key, CONTEXT, sealed) != MESSAGE:
        return False
    try:
        unseal(key, CONTEXT, sealed[:-1] + bytes([sealed[-1] ^ 1]))
    except MeshconsoleError:
        return True
    return False


def _schnorr() -> bool:
    from meshconsole.crypto.schnorr import public_key, verify_signature

    public, signature = bytes.fromhex(_SCHNORR_PUBLIC), bytes.fromhex(_SCHNORR_SIGNATURE)
    return (
        public_key((3).to_bytes(32, "big")) == _SCHNORR_PUBLIC
        and verify_signature(public, signature, bytes(32))
        and not verify_signature(public, signature, b"\1" * 32)
    )


def _tls(suite: Suite) -> bool:
    credentials = LinkCredentials(suite, b"\7" * 32)
    client = TlsSession(credentials, server=False, accept=lambda _: True)
    server = TlsSession(credentials, server=True, accept=lambda _: True)
    client.start()
    server.start()
    for _ in range(8):
        server.receive(client.outbox())
        client.receive(server.outbox())
        if client.established and server.established:
            client.send(MESSAGE)
            server.receive(client.outbox())
            return server.take() == MESSAGE and server.group == client.group == suite.tls_group
    return False
