"""The keystore opens by what it was sealed with, tells nothing else, and can be destroyed."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from meshconsole.core.errors import CorruptData, Fatal, LocalError, MeshconsoleError, Refused
from meshconsole.crypto import keystore, passphrase
from meshconsole.crypto.keystore import Keystore, device_secret_path
from meshconsole.crypto.passphrase import SMALL, KdfParams
from tests.crypto.keystores import DURESS, PASS, wrong_passphrase

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("cheap_kdf")


def test_it_opens_with_its_passphrase(path: Path, cheap_kdf: KdfParams) -> None:
    made = Keystore.create(path, PASS, params=cheap_kdf)
    assert Keystore.unlock(path, PASS) == made
    assert len(made.seed) == len(made.database_key) == 32
    assert made.nsec is None


def test_its_files_are_for_their_owner_alone(path: Path, cheap_kdf: KdfParams) -> None:
    Keystore.create(path, PASS, params=cheap_kdf, keyfile=path.with_name("unlock.key"))
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert modes == {"keystore": 0o600, "keystore.device": 0o600, "unlock.key": 0o600}


def test_a_wrong_passphrase_gets_a_sentence(path: Path, cheap_kdf: KdfParams) -> None:
    Keystore.create(path, PASS, params=cheap_kdf)
    assert "The passphrase is wrong." in wrong_passphrase(path, "correct Horse")
    assert "locked" in wrong_passphrase(path, None)
    assert Keystore.unlock(path, PASS)


def test_two_keystores_share_nothing(tmp_path: Path, cheap_kdf: KdfParams) -> None:
    one, other = (Keystore.create(tmp_path / name, PASS, params=cheap_kdf) for name in "ab")
    assert one.seed != other.seed
    assert one.database_key != other.database_key


def test_without_the_device_secret_the_right_passphrase_is_worth_nothing(
    path: Path, cheap_kdf: KdfParams
) -> None:
    Keystore.create(path, PASS, params=cheap_kdf)
    device = device_secret_path(path)
    kept = device.read_bytes()
    device.write_bytes(os.urandom(32))
    assert "wrong" in wrong_passphrase(path, PASS)
    device.write_bytes(kept[:-1])
    with pytest.raises(CorruptData):
        Keystore.unlock(path, PASS)
    device.unlink()
    with pytest.raises(Fatal, match=r"keystore\.device is missing"):
        Keystore.unlock(path, PASS)


def test_neither_passphrase_nor_secrets_are_in_the_files(path: Path, cheap_kdf: KdfParams) -> None:
    made = Keystore.create(path, PASS, params=cheap_kdf, duress=DURESS, nsec=b"\3" * 32)
    raw = b"".join(entry.read_bytes() for entry in path.parent.iterdir())
    for secret in (PASS.encode(), DURESS.encode(), made.seed, made.master, made.database_key):
        assert secret not in raw
        assert secret.hex().encode() not in raw


def test_restored_secrets_come_back(path: Path, cheap_kdf: KdfParams) -> None:
    Keystore.create(path, PASS, params=cheap_kdf, seed=b"\1" * 32, nsec=b"\2" * 32)
    opened = Keystore.unlock(path, PASS)
    assert (opened.seed, opened.nsec) == (b"\1" * 32, b"\2" * 32)


def test_derived_keys_differ_by_purpose_and_last(path: Path, cheap_kdf: KdfParams) -> None:
    made = Keystore.create(path, PASS, params=cheap_kdf)
    keys = {purpose: made.derive(purpose) for purpose in ("tag-hash", "blob-index", "database", "")}
    assert len(set(keys.values())) == 4
    assert keys["database"] == made.database_key
    assert Keystore.unlock(path, PASS).derive("tag-hash") == keys["tag-hash"]


def test_its_repr_holds_no_secret(path: Path, cheap_kdf: KdfParams) -> None:
    assert repr(Keystore.create(path, PASS, params=cheap_kdf, nsec=b"\2" * 32)) == "Secrets()"


def test_an_existing_keystore_is_never_replaced(path: Path, cheap_kdf: KdfParams) -> None:
    made = Keystore.create(path, PASS, params=cheap_kdf)
    with pytest.raises(Fatal, match="exists already"):
        Keystore.create(path, "other", params=cheap_kdf)
    assert Keystore.unlock(path, PASS) == made


def test_a_keystore_needs_something_that_opens_it(path: Path) -> None:
    with pytest.raises(LocalError):
        Keystore.create(path, None)
    assert not path.exists()


def test_a_missing_keystore_gets_a_sentence(path: Path) -> None:
    with pytest.raises(Fatal, match="does not exist"):
        Keystore.unlock(path, PASS)


def test_weak_parameters_are_not_used_to_create(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "SMALL", SMALL)
    with pytest.raises(CorruptData, match="too weak"):
        Keystore.create(path, PASS, params=KdfParams(64, 1, 1))


# Key file


def test_a_key_file_opens_it_without_a_passphrase(path: Path) -> None:
    keyfile = path.with_name("unlock.key")
    made = Keystore.create(path, None, keyfile=keyfile, params=passphrase.SMALL)
    assert Keystore.unlock(path, keyfile=keyfile) == made
    assert "wrong" in wrong_passphrase(path, "guess")
    with pytest.raises(Refused, match="empty"):
        Keystore.unlock(path, "")


def test_white_space_around_a_key_file_does_not_matter(path: Path, cheap_kdf: KdfParams) -> None:
    keyfile = path.with_name("unlock.key")
    made = Keystore.create(path, PASS, keyfile=keyfile, params=cheap_kdf)
    keyfile.write_bytes(b"\n " + keyfile.read_bytes().strip() + b"\r\n")
    assert Keystore.unlock(path, keyfile=keyfile) == made


def test_an_existing_key_file_is_used_as_it_is(path: Path, cheap_kdf: KdfParams) -> None:
    keyfile = path.with_name("usb.key")
    keyfile.write_bytes(b"k" * 40)
    made = Keystore.create(path, PASS, keyfile=keyfile, params=cheap_kdf)
    assert keyfile.read_bytes() == b"k" * 40
    assert Keystore.unlock(path, keyfile=keyfile) == made


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "too short"), (b"k" * 31, "too short"), (b"k" * 32, "does not open"), (b"k" * 5000, "larger")],
)
def test_another_key_file_does_not_open_it(
    path: Path, cheap_kdf: KdfParams, content: bytes, sentence: str
) -> None:
    Keystore.create(path, PASS, keyfile=path.with_name("unlock.key"), params=cheap_kdf)
    other = path.with_name("other.key")
    other.write_bytes(content)
    with pytest.raises(Fatal, match=sentence):
        Keystore.unlock(path, keyfile=other)
    with pytest.raises(Fatal, match="does not exist"):
        Keystore.unlock(path, keyfile=path.with_name("absent"))


def test_a_key_file_can_be_added_and_shut_out(path: Path, cheap_kdf: KdfParams) -> None:
    made = Keystore.create(path, PASS, params=cheap_kdf)
    keyfile = path.with_name("unlock.key")
    Keystore.set_keyfile(path, PASS, keyfile)
    assert Keystore.unlock(path, keyfile=keyfile) == made
    Keystore.set_keyfile(path, PASS, None)
    with pytest.raises(Fatal, match="does not open"):
        Keystore.unlock(path, keyfile=keyfile)
    assert Keystore.unlock(path, PASS) == made


# Passphrases


def test_changing_the_passphrase_changes_no_key(path: Path, cheap_kdf: KdfParams) -> None:
    keyfile = path.with_name("unlock.key")
    made = Keystore.create(path, PASS, keyfile=keyfile, params=cheap_kdf)
    Keystore.change_passphrase(path, PASS, "battery staple")
    assert "wrong" in wrong_passphrase(path, PASS)
    assert Keystore.unlock(path, "battery staple") == made
    assert Keystore.unlock(path, keyfile=keyfile) == made


def test_a_forgotten_passphrase_is_replaced_by_key_file(path: Path, cheap_kdf: KdfParams) -> None:
    keyfile = path.with_name("unlock.key")
    made = Keystore.create(path, PASS, keyfile=keyfile, params=cheap_kdf)
    Keystore.change_passphrase(path, None, "new", keyfile=keyfile)
    assert Keystore.unlock(path, "new") == made


def test_changing_needs_the_old_passphrase(path: Path, cheap_kdf: KdfParams) -> None:
    Keystore.create(path, PASS, params=cheap_kdf)
    before = path.read_bytes()
    with pytest.raises(Fatal, match="wrong"):
        Keystore.change_passphrase(path, "guess", "new")
    assert path.read_bytes() == before


def test_a_failed_change_leaves_the_old_passphrase(
    path: Path, cheap_kdf: KdfParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Keystore.create(path, PASS, params=cheap_kdf)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(MeshconsoleError, match="no space left"):
            Keystore.change_passphrase(path, PASS, "new")
    assert Keystore.unlock(path, PASS) == made


# Duress


def test_the_duress_passphrase_destroys_and_says_what_a_wrong_one_says(
    path: Path, cheap_kdf: KdfParams
) -> None:
    keyfile = path.with_name("unlock.key")
    Keystore.create(path, PASS, keyfile=keyfile, params=cheap_kdf, duress=DURESS)
    before, size, device = path.read_bytes(), path.stat().st_size, device_secret_path(path).read_bytes()
    wrong = wrong_passphrase(path, "some guess")
    assert path.read_bytes() == before
    assert wrong_passphrase(path, DURESS) == wrong
    assert path.stat().st_size == size
    assert device_secret_path(path).read_bytes() != device
    for attempt in (PASS, DURESS, "some guess"):
        assert wrong_passphrase(path, attempt) == wrong
    with pytest.raises(Fatal, match="does not open"):
        Keystore.unlock(path, keyfile=keyfile)


def test_neither_file_alone_brings_a_destroyed_keystore_back(path: Path, cheap_kdf: KdfParams) -> None:
    Keystore.create(path, PASS, params=cheap_kdf, duress=DURESS)
    kept, kept_device = path.read_bytes(), device_secret_path(path).read_bytes()
    wrong_passphrase(path, DURESS)
    destroyed, destroyed_device = path.read_bytes(), device_secret_path(path).read_bytes()
    path.write_bytes(kept)
    wrong_passphrase(path, PASS)
    path.write_bytes(destroyed)
    device_secret_path(path).write_bytes(kept_device)
    wrong_passphrase(path, PASS)
    assert destroyed_device != kept_device


def test_the_file_does_not_show_which_slots_are_in_use(tmp_path: Path, cheap_kdf: KdfParams) -> None:
    plain, full = tmp_path / "plain", tmp_path / "full"
    Keystore.create(plain, PASS, params=cheap_kdf)
    Keystore.create(full, PASS, params=cheap_kdf, duress=DURESS, keyfile=tmp_path / "key", nsec=b"\2" * 32)

    def shape(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, dict):
            return {name: shape(part) for name, part in value.items()}
        return len(value) if isinstance(value, str) else value

    assert shape(json.loads(plain.read_bytes())) == shape(json.loads(full.read_bytes()))


def test_no_change_shows_by_its_parameters_when_or_whether_a_duress_passphrase_was_set(
    tmp_path: Path, cheap_kdf: KdfParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another machine, or a busy moment, would measure others."""
    monkeypatch.setattr(keystore, "calibrate", lambda: replace(cheap_kdf, iterations=9))
    for name, set_at in (("never", 0), ("before", 1), ("after", 2)):
        path = tmp_path / name
        Keystore.create(path, PASS, params=cheap_kdf)
        if set_at == 1:
            Keystore.set_duress(path, PASS, DURESS)
        Keystore.change_passphrase(path, PASS, "new")
        if set_at == 2:
            Keystore.set_duress(path, "new", DURESS)
        found = json.loads(path.read_bytes())
        for slot in (found["passphrase"], found["duress"]):
            assert KdfParams(slot["memory_kib"], slot["iterations"], slot["lanes"]) == cheap_kdf


def test_duress_can_be_set_and_taken_back(path: Path, cheap_kdf: KdfParams) -> None:
    made = Keystore.create(path, PASS, params=cheap_kdf)
    Keystore.set_duress(path, PASS, DURESS)
    Keystore.set_duress(path, PASS, None)
    wrong_passphrase(path, DURESS)
    assert Keystore.unlock(path, PASS) == made
    Keystore.set_duress(path, PASS, DURESS)
    wrong_passphrase(path, DURESS)
    wrong_passphrase(path, PASS)


@pytest.mark.parametrize(
    "collide",
    [
        lambda path, params: Keystore.set_duress(path, PASS, PASS),
        lambda path, params: Keystore.change_passphrase(path, PASS, DURESS),
        lambda path, params: Keystore.create(
            path.with_name("new"), "caf\u00e9", duress="cafe\u0301", params=params
        ),
    ],
    ids=["set", "change", "create"],
)
def test_one_passphrase_cannot_mean_both(
    path: Path, cheap_kdf: KdfParams, collide: Callable[[Path, KdfParams], object]
) -> None:
    made = Keystore.create(path, PASS, params=cheap_kdf, duress=DURESS)
    with pytest.raises(Refused, match="must differ"):
        collide(path, cheap_kdf)
    assert Keystore.unlock(path, PASS) == made


def test_panic_needs_no_passphrase(path: Path, cheap_kdf: KdfParams) -> None:
    Keystore.create(path, PASS, params=cheap_kdf)
    Keystore.wipe(path)
    wrong_passphrase(path, PASS)


def test_panic_goes_on_when_a_file_is_damaged_or_gone(path: Path, cheap_kdf: KdfParams) -> None:
    Keystore.create(path, PASS, params=cheap_kdf)
    kept = path.read_bytes()
    path.write_bytes(b"damaged, but still " + kept)
    Keystore.wipe(path)
    assert b"sealed" not in path.read_bytes()
    path.write_bytes(kept)
    device_secret_path(path).unlink()
    with pytest.raises(Fatal):
        Keystore.wipe(path)
    assert path.read_bytes() != kept


def test_the_real_floor_from_end_to_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passphrase, "SMALL", SMALL)
    made = Keystore.create(path, PASS, params=SMALL)
    assert Keystore.unlock(path, PASS) == made
