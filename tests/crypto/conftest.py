"""Providers and identities for the tests of keys and secrets."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pytest

from meshconsole.crypto import passphrase
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.liboqs_loader import HOW_TO_GET, NOT_FOUND, find_library_file
from meshconsole.crypto.liboqs_provider import LiboqsProvider
from meshconsole.crypto.openssl_provider import OpensslProvider
from meshconsole.crypto.passphrase import KdfParams
from meshconsole.crypto.providers import choose_provider
from meshconsole.crypto.suites import MC1, MC2, Suite

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.crypto.provider import Provider

NO_LIBOQS = f"{NOT_FOUND} {HOW_TO_GET}"
CHEAP = KdfParams(memory_kib=64, iterations=1, lanes=1)


@cache
def fixed_identity(name: str, suite: Suite) -> Identity:
    return Identity(name.encode().ljust(32, b"."), suite, OpensslProvider())


@pytest.fixture(params=[MC1, MC2], ids=lambda suite: suite.name)
def suite(request: pytest.FixtureRequest) -> Suite:
    chosen: Suite = request.param
    return chosen


@pytest.fixture
def alice(suite: Suite) -> Identity:
    return fixed_identity("alice", suite)


@pytest.fixture
def bob(suite: Suite) -> Identity:
    return fixed_identity("bob", suite)


@pytest.fixture
def mallory(suite: Suite) -> Identity:
    return fixed_identity("mallory", suite)


@pytest.fixture
def openssl() -> OpensslProvider:
    return OpensslProvider()


@pytest.fixture
def liboqs() -> LiboqsProvider:
    if find_library_file() is None:
        pytest.skip(NO_LIBOQS)
    provider = choose_provider("liboqs")
    assert isinstance(provider, LiboqsProvider)
    return provider


@pytest.fixture(params=["openssl", "liboqs"])
def provider(request: pytest.FixtureRequest) -> Provider:
    chosen: Provider = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def cheap_kdf(monkeypatch: pytest.MonkeyPatch) -> KdfParams:
    """Parameters far below the floor, and no floor: the derivation itself is tested elsewhere."""
    monkeypatch.setattr(passphrase, "SMALL", CHEAP)
    return CHEAP


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a keystore that is not there yet."""
    return tmp_path / "keystore"
