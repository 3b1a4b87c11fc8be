"""Which library computes ML-DSA and HPKE, and the check it passes before it is trusted.

Both providers give the same bytes for the same seeds, so a home or a team can change from one to
the other. `cryptography` is always there; liboqs is used when a sound library is installed.
Nothing here downloads, builds or prints anything, or starts a process.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from meshconsole.core.errors import Fatal, Unavailable
from meshconsole.crypto.openssl_provider import OpensslProvider

if TYPE_CHECKING:
    from meshconsole.crypto.suites import Suite

ProviderSetting = Literal["auto", "openssl", "liboqs"]


class Provider(Protocol):
    """ML-DSA (FIPS 204) from 32-byte seeds with a non-empty context, and single-shot HPKE (RFC 9180).

    Wrong lengths of a seed or context raise LocalError; all that a peer may have chosen gives False
    or RemoteError. Every method may be called from any thread.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def mldsa_public(self, suite: Suite, seed: bytes) -> bytes: ...

    def mldsa_sign(self, suite: Suite, seed: bytes, message: bytes, context: bytes) -> bytes: ...

    def mldsa_verify(
        self, suite: Suite, public: bytes, signature: bytes, message: bytes, context: bytes
    ) -> bool: ...

    def kem_public(self, suite: Suite, seed: bytes) -> bytes: ...

    def kem_public_is_sound(self, suite: Suite, public: bytes) -> bool:
        """Whether `hpke_seal` works with it: length, FIPS 203 §7.2, no X25519 point of low order."""
        ...

    def hpke_seal(self, suite: Suite, kem_public: bytes, info: bytes, plaintext: bytes) -> bytes: ...

    def hpke_open(self, suite: Suite, seed: bytes, info: bytes, ciphertext: bytes) -> bytes: ...


class ProviderReport(msgspec.Struct, frozen=True):
    """One line of `meshconsole doctor`. `reason` says why a provider is not usable."""

    name: str
    usable: bool
    version: str
    reason: str


def choose_provider(setting: ProviderSetting) -> Provider:
    """The provider of the owner's choice after its known-answer test.

    "auto" takes liboqs where it is sound, else OpenSSL. Raises Fatal when the wanted one is missing
    or computes anything wrongly.
    """
    if setting == "liboqs":
        try:
            return _liboqs()
        except Unavailable as error:
            raise Fatal(
                f"The configuration asks for liboqs, but {error.sentence}",
                hint='Install it, or set crypto.provider to "auto".',
            ) from None
    if setting == "auto":
        try:
            return _liboqs()
        except Unavailable:
            pass
    return _openssl()


def default_provider() -> Provider:
    """OpenSSL through `cryptography`, without the known-answer test."""
    return _OPENSSL


def provider_reports() -> tuple[ProviderReport, ...]:
    """Both providers, tested; for `doctor` and the status line."""
    return _report("openssl"), _report("liboqs")


_OPENSSL = OpensslProvider()


@lru_cache(maxsize=1)
def _openssl() -> Provider:
    from meshconsole.crypto.known_answers import check_provider

    reason = check_provider(_OPENSSL)
    if reason:
        raise Fatal(
            f"The cryptography library fails its self-test: {reason}.",
            hint="Reinstall meshconsole; do not use this device for the team until it passes.",
        )
    return _OPENSSL


@lru_cache(maxsize=1)
def _liboqs() -> Provider:
    """Raises Unavailable with the reason. Only a success is remembered."""
    from meshconsole.crypto.known_answers import check_provider
    from meshconsole.crypto.liboqs_provider import LiboqsProvider

    provider = LiboqsProvider.load()
    reason = check_provider(provider)
    if reason:
        raise Unavailable(f"{provider.version} fails its self-test: {reason}.")
    return provider


def _report(name: Literal["openssl", "liboqs"]) -> ProviderReport:
    try:
        provider = _openssl() if name == "openssl" else _liboqs()
    except (Fatal, Unavailable) as error:
        return ProviderReport(name, False, "", error.sentence)
    return ProviderReport(name, True, provider.version, "")
