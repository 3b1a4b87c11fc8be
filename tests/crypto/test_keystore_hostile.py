"""Planted and damaged keystore files: refused before any key is derived, never opened to other secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import CorruptData, Fatal
from meshconsole.crypto import keystore
from meshconsole.crypto.keystore import Keystore
from meshconsole.crypto.passphrase import CEILING, KdfParams
from tests.crypto.keystores import DURESS, PASS, wrong_passphrase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("cheap_kdf")


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_bytes(json.dumps(content).encode())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f["passphrase"].update(memory_kib=CEILING.memory_kib + 1), "more memory or time"),
        (lambda f: f["passphrase"].update(memory_kib=1 << 60), "more memory or time"),
        (lambda f: f["duress"].update(iterations=10**9), "more memory or time"),
        (lambda f: f["passphrase"].update(lanes=64), "more memory or time"),
        (lambda f: f["passphrase"].update(iterations=0), "too weak"),
        (lambda f: f["passphrase"].update(salt=""), "damaged"),
        (lambda f: f["passphrase"].update(salt="!"), "damaged"),
        (lambda f: f["passphrase"].update(memory_kib="64"), "damaged"),
        (lambda f: f.update(version=2), "newer version"),
        (lambda f: f.update(more=1), "newer version"),
        (lambda f: f.pop("duress"), "damaged"),
    ],
)
def test_planted_parameters_are_refused_before_anything_is_derived(
    path: Path,
    cheap_kdf: KdfParams,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], object],
    sentence: str,
) -> None:
    Keystore.create(path, PASS, params=cheap_kdf)
    edited(path, change)

    def never(*_: object) -> bytes:
        raise AssertionError("a key was derived from parameters that should have been refused")

    monkeypatch.setattr(keystore, "derive", never)
    with pytest.raises(Fatal, match=sentence):
        Keystore.unlock(path, PASS)


def test_damaged_secrets_are_named(path: Path, cheap_kdf: KdfParams) -> None:
    Keystore.create(path, PASS, params=cheap_kdf)
    edited(path, lambda content: content.update(secrets="AAAA"))
    with pytest.raises(CorruptData, match="its secrets are damaged"):
        Keystore.unlock(path, PASS)


def test_the_duress_slot_in_the_place_of_the_other_opens_nothing(path: Path, cheap_kdf: KdfParams) -> None:
    Keystore.create(path, PASS, params=cheap_kdf, duress=DURESS)
    edited(path, lambda f: f.update(passphrase=f["duress"], duress=f["passphrase"]))
    wrong_passphrase(path, DURESS)
    wrong_passphrase(path, PASS)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_no_damage_gives_other_secrets_or_another_kind_of_error(
    path: Path, cheap_kdf: KdfParams, data: st.DataObject
) -> None:
    if not path.exists():
        Keystore.create(path, PASS, params=cheap_kdf, seed=b"\1" * 32)
        path.with_name("copy").write_bytes(path.read_bytes())
    good = path.with_name("copy").read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    piece = data.draw(st.binary(max_size=3))
    path.write_bytes(good[:at] + piece + good[at + data.draw(st.integers(0, 3)) :])
    try:
        opened = Keystore.unlock(path, PASS)
    except Fatal:
        return
    assert opened.seed == b"\1" * 32


def test_an_oversized_file_is_not_read(path: Path, cheap_kdf: KdfParams) -> None:
    Keystore.create(path, PASS, params=cheap_kdf)
    path.write_bytes(b" " * 20_000)
    with pytest.raises(CorruptData, match="larger"):
        Keystore.unlock(path, PASS)
