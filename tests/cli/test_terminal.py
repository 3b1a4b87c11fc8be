"""Questions at a terminal: `init`, passphrases, confirmations."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.config import Config
from meshconsole.node.config_file import load_config
from meshconsole.node.opening import open_keystore
from tests.cli.terminal import Terminal

if TYPE_CHECKING:
    from meshconsole.core.home import Home
    from tests.cli.scripted_node import ScriptedNode

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_init_asks_explains_and_makes_a_home(home: Home) -> None:
    with closing(Terminal("init")) as terminal:
        terminal.expect("Name of this device")
        terminal.type("hawk")
        terminal.expect("Found a team?")
        terminal.type("Falcon")
        for title, answer in (("Nostr relay", ""), ("IPFS node", "yes"), ("WebRTC hub", "no")):
            terminal.expect("costs")
            terminal.expect(f"Offer the {title}?")
            terminal.type(answer)
        terminal.expect("Most storage, in MB [512]")
        terminal.type("100")
        terminal.expect("Most bandwidth")
        terminal.type("")
        terminal.expect("Passphrase (nothing for none): ")
        terminal.type("one")
        terminal.expect("Once more: ")
        terminal.type("another")
        terminal.expect("The two differ")
        terminal.expect("Passphrase (nothing for none): ")
        terminal.type("correct horse")
        terminal.expect("Once more: ")
        terminal.type("correct horse")
        terminal.expect("hawk lives in")
        terminal.expect("Team Falcon exists")
        assert terminal.end() == 0
    config = load_config(home, environment={})
    assert (config.node.name, config.limits.max_storage_mb) == ("hawk", 100)
    assert config.capabilities.nostr_relay
    assert not config.capabilities.webrtc_hub
    assert config.limits.max_bandwidth_mbps == Config().limits.max_bandwidth_mbps
    assert not home.unlock_key.exists()
    open_keystore(home, "correct horse")


def test_a_passphrase_is_not_shown_while_it_is_typed(home: Home) -> None:
    with closing(Terminal("init", "--name", "hawk", "--without", "webrtc_hub")) as terminal:
        terminal.expect("Found a team?")
        for _ in range(3):
            terminal.type("")
        terminal.expect("Most storage")
        terminal.type("")
        terminal.expect("Most bandwidth")
        terminal.type("")
        terminal.expect("Passphrase (nothing for none): ")
        terminal.type("correct horse")
        terminal.expect("Once more: ")
        assert "correct horse" not in terminal.seen
        terminal.type("correct horse")
        terminal.expect("hawk lives in")
        assert "correct horse" not in terminal.seen
        assert terminal.end() == 0


def test_questions_that_are_left_make_nothing(home: Home) -> None:
    with closing(Terminal("init")) as terminal:
        terminal.expect("Name of this device")
        terminal.type("\x04")
        terminal.expect("nothing was made")
        assert terminal.end() == 1
    assert not home.path.exists()


def test_removing_a_member_takes_its_name(node: ScriptedNode) -> None:
    with closing(Terminal("team", "remove", "bravo")) as terminal:
        terminal.expect("cannot be undone")
        terminal.expect("Type the name")
        terminal.type("yes")
        terminal.expect("Nothing was changed")
        assert terminal.end() == 1
    assert not any(type(command).__name__ == "RemoveMember" for command in node.commands)


def test_an_invite_is_explained_to_people(node: ScriptedNode) -> None:
    with closing(Terminal("team", "invite")) as terminal:
        terminal.expect("▄▄▄▄▄")
        terminal.expect("MC1-")
        terminal.expect("as carefully as a key")
        terminal.expect("192.0.2.7:7447")
        assert terminal.end() == 0
