"""A wipe destroys the keys first and everything in the end, wherever it was cut off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshconsole.core.errors import Fatal, Unavailable, WipeIncomplete
from meshconsole.core.home import Home
from meshconsole.crypto import passphrase
from meshconsole.crypto.keystore import Keystore
from meshconsole.crypto.passphrase import KdfParams
from meshconsole.node import wipe
from meshconsole.node.run import go_on_with_wipe
from meshconsole.node.wipe import destroy_keys, finish_wipe, wipe_is_owed

from .crashing_wipe import make, opens

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setattr(passphrase, "SMALL", KdfParams(64, 1, 1))
    home = Home(tmp_path / "home")
    make(home)
    return home


def test_everything_goes_and_nothing_else(home: Home) -> None:
    outside = home.path.parent / "outside"
    finish_wipe(home)
    assert list(home.path.iterdir()) == []
    assert outside.read_bytes() == b"not ours"
    assert not wipe_is_owed(home)


def test_the_keys_alone_go_in_a_moment(home: Home) -> None:
    """What happens before anybody is waited for."""
    assert opens(home)
    destroy_keys(home)
    assert not opens(home)
    assert wipe_is_owed(home)
    assert (home.path / "node.db").exists()
    with pytest.raises(Fatal, match="passphrase is wrong"):
        Keystore.unlock(home.keystore, "correct horse")


@pytest.mark.slow
def test_killed_at_every_touch_of_the_disk(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.node.crashing_wipe", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    seen = json.loads(done.stdout)
    assert len(seen) > 30
    opened = [found["opens"] for found in seen]
    assert opened[0], "killed before it began, the home is as it was"
    first_shut = opened.index(False)
    assert not any(opened[first_shut:]), "once the keys are destroyed they stay so"
    assert first_shut < 12, "the keys go first"
    assert seen[first_shut]["left before"] > 15, "when the keys are gone no file has been deleted yet"
    for number, found in enumerate(seen[:-1], 1):
        if found["owed"]:
            assert found["left"] == [], f"killed at touch {number}"
        else:
            # Either it had not been ordered durably, and then everything is as it was, or it was done.
            assert found["opens"] == bool(found["left"]), f"killed at touch {number}"
    assert seen[-1]["left"] == []
    assert all(found["outside"] for found in seen)


def test_what_cannot_be_destroyed_is_named_and_stays_owed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def stubborn(path: Path, missing_ok: bool = False) -> None:
        if path.name == "node.db":
            raise PermissionError(1, "Operation not permitted")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", stubborn)
    with pytest.raises(WipeIncomplete, match=r"DID NOT COMPLETE.*node\.db") as caught:
        finish_wipe(home)
    assert "Every start tries again" in caught.value.hint
    assert {path.name for path in home.path.iterdir()} == {"node.db", home.wipe_order.name}
    with pytest.raises(WipeIncomplete):
        go_on_with_wipe(home)
    monkeypatch.undo()
    with pytest.raises(Fatal, match="is complete now"):
        go_on_with_wipe(home)
    assert list(home.path.iterdir()) == []


def test_a_full_disk_does_not_save_the_keys(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise Unavailable("There is no space left.")

    monkeypatch.setattr(wipe, "write_private", full)
    destroy_keys(home)
    assert not opens(home)
    finish_wipe(home)
    assert list(home.path.iterdir()) == []


def test_plain_words_are_written_over_before_they_are_deleted(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second name for each file shows what became of its bytes."""
    plain = {home.config, home.log, home.path / "bugs.log"}
    for path in plain:
        os.link(path, home.path.parent / f"second-{path.name}")
    finish_wipe(home)
    for path in plain:
        assert b"plain words" not in (home.path.parent / f"second-{path.name}").read_bytes()


def test_nothing_is_owed_where_nothing_was_ordered(home: Home) -> None:
    go_on_with_wipe(home)
    assert opens(home)
