"""unlock, passphrase and panic with somebody at the keyboard: what is asked, and that nothing is echoed."""

from __future__ import annotations

import os
import signal
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from meshconsole.cli.main import main
from meshconsole.core.errors import Fatal
from meshconsole.crypto import keystore
from meshconsole.crypto.keystore import Keystore
from meshconsole.crypto.passphrase import SMALL
from tests.cli.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshconsole.core.home import Home

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RIGHT, OTHER = "correct horse", "battery staple"


@pytest.fixture
def made(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A home with a passphrase, whose key derivation is quick. Whatever node was started in it is killed."""
    monkeypatch.setattr(keystore, "calibrate", lambda: SMALL)
    secret = tmp_path / "passphrase"
    secret.write_text(RIGHT)
    assert main(["init", "--yes", "--name", "hawk", "--passphrase-file", str(secret)]) == 0
    yield home
    with suppress(OSError, ValueError):
        os.kill(int(home.lock.read_text()), signal.SIGKILL)


def test_a_new_passphrase_is_asked_for_twice_and_never_shown(made: Home) -> None:
    with closing(Terminal("passphrase")) as terminal:
        terminal.expect("Present passphrase: ")
        terminal.type(RIGHT)
        terminal.expect("New passphrase: ")
        terminal.type(OTHER)
        terminal.expect("Once more: ")
        terminal.type("something else")
        terminal.expect("The two differ")
        terminal.expect("New passphrase: ")
        terminal.type(OTHER)
        terminal.expect("Once more: ")
        assert RIGHT not in terminal.seen
        assert OTHER not in terminal.seen
        terminal.type(OTHER)
        terminal.expect("The passphrase is changed")
        assert terminal.end() == 0
    assert Keystore.unlock(made.keystore, OTHER)
    with pytest.raises(Fatal):
        Keystore.unlock(made.keystore, RIGHT)


def test_a_wrong_one_is_told_before_a_new_one_is_asked_for(made: Home) -> None:
    with closing(Terminal("passphrase")) as terminal:
        terminal.expect("Present passphrase: ")
        terminal.type("not this one")
        terminal.expect("The passphrase is wrong")
        assert terminal.end() == 1


def test_panic_takes_the_word(made: Home) -> None:
    with closing(Terminal("panic")) as terminal:
        terminal.expect("no way back but a backup")
        terminal.expect("Type destroy to go on: ")
        terminal.type("yes")
        terminal.expect("Nothing was destroyed")
        assert terminal.end() == 1
    assert Keystore.unlock(made.keystore, RIGHT)
    with closing(Terminal("panic")) as terminal:
        terminal.expect("Type destroy to go on: ")
        terminal.type("destroy")
        terminal.expect("Destroyed.")
        terminal.expect("team remove NAME")
        assert terminal.end() == 0
    assert list(made.path.iterdir()) == []


def test_a_console_opens_a_node_that_was_started_locked(made: Home) -> None:
    """Nobody gave the passphrase at the start: the console asks for it."""
    with closing(Terminal("run", "--set", "node.listen=127.0.0.1:0")) as terminal:
        terminal.expect("Passphrase of")
        terminal.type("")
        terminal.expect_on_screen("its home is locked")
        terminal.type("not this one")
        terminal.expect_on_screen("The passphrase is wrong")
        terminal.type(RIGHT)
        terminal.expect_on_screen("In no team yet")
        os.write(terminal._master, b":lock\r")
        terminal.expect_on_screen("This console has locked itself")
        terminal.type(RIGHT)
        terminal.expect_on_screen("In no team yet")
        os.write(terminal._master, b":panic\r")
        terminal.expect_on_screen("Type destroy")
        terminal.type("destroy")
        terminal.expect("The keys of this home are destroyed")
        assert terminal.end() == 0
    with pytest.raises(Fatal):
        Keystore.unlock(made.keystore, RIGHT)
