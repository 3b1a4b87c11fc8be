"""The self-test passes for a sound provider and catches each kind of wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from meshconsole.core.errors import Fatal, Unavailable
from meshconsole.crypto import liboqs_provider, providers
from meshconsole.crypto.known_answers import check_provider
from meshconsole.crypto.openssl_provider import OpensslProvider
from meshconsole.crypto.providers import (
    ProviderReport,
    choose_provider,
    chosen_report,
    default_provider,
    provider_reports,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.suites import Suite


@pytest.fixture(autouse=True)
def forget_choices() -> Iterator[None]:
    providers._openssl.cache_clear()
    providers._liboqs.cache_clear()
    yield
    providers._openssl.cache_clear()
    providers._liboqs.cache_clear()


def test_a_sound_provider_passes(provider: Provider) -> None:
    assert check_provider(provider) == ""


class OtherKeys(OpensslProvider):
    def mldsa_public(self, suite: Suite, seed: bytes) -> bytes:
        return super().mldsa_public(suite, bytes(32))


class OtherKemKeys(OpensslProvider):
    def kem_public(self, suite: Suite, seed: bytes) -> bytes:
        return super().kem_public(suite, bytes(suite.kem_seed_len))


class SaysYes(OpensslProvider):
    def mldsa_verify(
        self, suite: Suite, public: bytes, signature: bytes, message: bytes, context: bytes
    ) -> bool:
        return True


class SaysNo(OpensslProvider):
    def mldsa_verify(
        self, suite: Suite, public: bytes, signature: bytes, message: bytes, context: bytes
    ) -> bool:
        return False


class SignsElse(OpensslProvider):
    def mldsa_sign(self, suite: Suite, seed: bytes, message: bytes, context: bytes) -> bytes:
        return super().mldsa_sign(suite, seed, message + b"!", context)


class OpensElse(OpensslProvider):
    def hpke_open(self, suite: Suite, seed: bytes, info: bytes, ciphertext: bytes) -> bytes:
        return bytes(32)


class WrapsInClear(OpensslProvider):
    def hpke_seal(self, suite: Suite, kem_public: bytes, info: bytes, plaintext: bytes) -> bytes:
        return bytes(suite.enc_len) + plaintext + bytes(16)


class Crashes(OpensslProvider):
    def mldsa_sign(self, suite: Suite, seed: bytes, message: bytes, context: bytes) -> bytes:
        raise AttributeError("undefined symbol")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (OtherKeys, "derives a wrong key"),
        (OtherKemKeys, "derives a wrong key"),
        (SaysYes, "made in another context"),
        (SaysNo, "refuses a good signature"),
        (SignsElse, "refuses its own signature"),
        (OpensElse, "opens a known wrap to a wrong secret"),
        (WrapsInClear, "RemoteError"),
        (Crashes, "AttributeError"),
    ],
)
def test_a_broken_provider_fails(broken: type[OpensslProvider], reason: str) -> None:
    assert reason in check_provider(broken())


def test_openssl_is_chosen_by_name() -> None:
    assert choose_provider("openssl").name == "openssl"
    assert default_provider().name == "openssl"


def test_a_broken_openssl_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_OPENSSL", SaysYes())
    with pytest.raises(Fatal, match="self-test") as caught:
        choose_provider("openssl")
    assert caught.value.hint
    assert not provider_reports()[0].usable


def refuse_to_load(_: type[liboqs_provider.LiboqsProvider]) -> liboqs_provider.LiboqsProvider:
    raise Unavailable("no liboqs library is installed.", hint="Install liboqs 0.16 or newer.")


def test_without_liboqs_auto_takes_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liboqs_provider.LiboqsProvider, "load", classmethod(refuse_to_load))
    assert choose_provider("auto").name == "openssl"
    report = provider_reports()[1]
    assert (report.name, report.usable, report.reason) == (
        "liboqs",
        False,
        "no liboqs library is installed.",
    )


def test_without_liboqs_asking_for_it_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liboqs_provider.LiboqsProvider, "load", classmethod(refuse_to_load))
    with pytest.raises(Fatal, match="no liboqs library is installed") as caught:
        choose_provider("liboqs")
    assert "crypto.provider" in caught.value.hint
    assert "0.16" in caught.value.hint


@pytest.mark.parametrize("setting", ["auto", "liboqs"])
def test_a_liboqs_that_computes_wrongly_stops_everything(
    monkeypatch: pytest.MonkeyPatch, setting: Literal["auto", "liboqs"]
) -> None:
    """Not passed over: somebody put that library there."""

    class Broken(SaysYes):
        version = "liboqs 0.16.0"

    monkeypatch.setattr(liboqs_provider.LiboqsProvider, "load", classmethod(lambda _: Broken()))
    with pytest.raises(Fatal, match=r"liboqs 0\.16\.0 fails its self-test") as caught:
        choose_provider(setting)
    assert "openssl" in caught.value.hint
    assert choose_provider("openssl").name == "openssl"
    reports = provider_reports()
    assert (reports[1].usable, reports[1].broken) == (False, True)
    assert chosen_report(setting, reports) is None


def test_openssl_is_tested_even_where_liboqs_is_chosen(
    monkeypatch: pytest.MonkeyPatch, liboqs: Provider
) -> None:
    """Links and the first half of X-Wing are OpenSSL's in any case."""
    monkeypatch.setattr(providers, "_OPENSSL", SaysYes())
    providers._openssl.cache_clear()
    with pytest.raises(Fatal, match="self-test"):
        choose_provider("auto")


@pytest.mark.parametrize(
    ("setting", "usable", "name"),
    [
        ("auto", (True, True), "liboqs"),
        ("auto", (True, False), "openssl"),
        ("openssl", (True, True), "openssl"),
        ("liboqs", (True, False), None),
        ("auto", (False, True), None),
    ],
)
def test_which_one_would_be_in_use(
    setting: Literal["auto", "openssl", "liboqs"], usable: tuple[bool, bool], name: str | None
) -> None:
    reports = (
        ProviderReport("openssl", usable[0], "", "", broken=not usable[0]),
        ProviderReport("liboqs", usable[1], "", ""),
    )
    chosen = chosen_report(setting, reports)
    assert (chosen.name if chosen else None) == name


def test_liboqs_is_preferred_when_it_is_sound(liboqs: Provider) -> None:
    assert liboqs.name == "liboqs"
    assert choose_provider("auto").name == "liboqs"
    assert [(report.name, report.usable) for report in provider_reports()] == [
        ("openssl", True),
        ("liboqs", True),
    ]
