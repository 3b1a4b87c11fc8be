"""Which library computes ML-DSA and HPKE, and the check it passes before it is trusted.

Both providers give the same bytes for the same seeds, so a home or a team can change from one to
the other. `cryptography` is always there; liboqs is used when a sound library is installed.
Nothing here downloads, builds or prints anything, or starts a process.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import msgspec

from meshconsole.core.errors import Fatal, Unavailable
from meshconsole.crypto.openssl_provider import OpensslProvider

if TYPE_CHECKING:
    from meshconsole.crypto.provider import Provider

ProviderSetting = Literal["auto", "openssl", "liboqs"]


class ProviderReport(msgspec.Struct, frozen=True):
    """One line of `meshconsole doctor`. `reason` says why a provider is not usable."""

    name: str
    usable: bool
    version: str
    reason: str
    remedy: str = ""
    broken: bool = False
    """It is installed and computes wrongly."""


def choose_provider(setting: ProviderSetting) -> Provider:
    """The provider of the owner's choice after its known-answer test.

    "auto" takes liboqs where one is installed that fits, else OpenSSL, which is tested in any case:
    links use it. Raises Fatal when the wanted one is missing, and when one that would be used
    computes anything wrongly: such a machine is not to be trusted with the other one either.
    """
    openssl = _openssl()
    if setting == "openssl":
        return openssl
    try:
        return _liboqs()
    except Unavailable as error:
        if setting == "auto":
            return openssl
        raise Fatal(
            f"The configuration asks for liboqs, but {error.sentence}",
            hint=f'{error.hint or "Install another."} Or set crypto.provider to "auto".',
        ) from None


def default_provider() -> Provider:
    """OpenSSL through `cryptography`, without the known-answer test."""
    return _OPENSSL


def provider_reports() -> tuple[ProviderReport, ...]:
    """Both providers, tested; for `doctor` and the status line."""
    return _report("openssl"), _report("liboqs")


def chosen_report(setting: ProviderSetting, reports: tuple[ProviderReport, ...]) -> ProviderReport | None:
    """The one that a node would use; None when it would refuse to start."""
    by_name = {report.name: report for report in reports}
    wanted = by_name["openssl"] if setting == "openssl" else by_name["liboqs"]
    if setting == "auto" and not wanted.usable and not wanted.broken:
        wanted = by_name["openssl"]
    return wanted if wanted.usable and by_name["openssl"].usable else None


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
    """Raises Unavailable when there is none that fits, Fatal when it fails its test.

    Only a success is remembered.
    """
    from meshconsole.crypto.known_answers import check_provider
    from meshconsole.crypto.liboqs_provider import LiboqsProvider

    provider = LiboqsProvider.load()
    reason = check_provider(provider)
    if reason:
        raise Fatal(
            f"{provider.version} fails its self-test: {reason}.",
            hint='Find out who installed that library. To do without it: crypto.provider = "openssl".',
        )
    return provider


def _report(name: Literal["openssl", "liboqs"]) -> ProviderReport:
    try:
        provider = _openssl() if name == "openssl" else _liboqs()
    except (Fatal, Unavailable) as error:
        broken = isinstance(error, Fatal)
        return ProviderReport(name, False, "", error.sentence, error.hint, broken)
    return ProviderReport(name, True, provider.version, "")
