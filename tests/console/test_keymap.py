"""Keys of one's own: what is taken, what is named as wrong, and that every view shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.console.actions import ACTIONS, key_in_words
from meshconsole.console.keymap import MAX_BYTES, Keymap, key_name, read_keymap, remapped
from meshconsole.console.widgets.lines import Lines
from tests.console.scripted import ScriptedNode
from tests.console.stage import stage

if TYPE_CHECKING:
    from pathlib import Path


def keys(keymap: Keymap, action_id: str) -> tuple[str, ...]:
    return keymap.action(action_id).keys


def test_our_own_keys_do_not_clash() -> None:
    assert remapped({}, "keys.toml") == Keymap()


def test_every_action_has_a_command_or_moves_the_cursor() -> None:
    without = [action.id for action in ACTIONS if not action.command]
    assert all(name.startswith(("list.", "view.", "app.command")) for name in without)
    commands = [action.command for action in ACTIONS if action.command]
    assert len(set(commands)) == len(commands)


def test_keys_are_replaced_and_taken_away() -> None:
    own = remapped(
        {"keys": {"note.flash": ["ctrl+f", "!"], "list.page_down": ["f7"], "team.invite": []}}, "k"
    )
    assert keys(own, "note.flash") == ("ctrl+f", "exclamation_mark")
    assert keys(own, "list.page_down") == ("f7",)
    assert keys(own, "team.invite") == ()
    assert own.key("team.invite") == ":invite"
    # Whoever had the key without being asked loses it, and that is said.
    assert keys(own, "note.acknowledge") == ()
    assert own.problems == ("k: ! is for note.flash and note.acknowledge; note.flash has it.",)


def test_the_way_out_is_kept() -> None:
    assert keys(remapped({"keys": {"app.quit": ["Z"]}}, "k"), "app.quit") == ("Z", "ctrl+q")


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"keys": {"note.sing": ["x"]}}, "there is no action note.sing"),
        ({"keys": {"note.flash": "x"}}, "note.flash must be a list of keys"),
        ({"keys": {"note.flash": ["no key at all"]}}, "'no key at all' is no key"),
        ({"keys": {"note.flash": ["\x1b[31m"]}}, "is no key"),
        ({"keys": ["x"]}, "[keys] must be a table"),
        ({"other": 1}, "other is unknown"),
        (
            {"keys": {"note.flash": ["Z"], "note.write": ["Z"]}},
            "Z is for note.write and note.flash; note.write",
        ),
    ],
)
def test_what_is_wrong_is_named(data: dict[str, object], problem: str) -> None:
    (said,) = remapped(data, "keys.toml").problems
    assert problem in said
    assert "\x1b" not in said


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    assert read_keymap(path) == Keymap()
    path.write_text('[keys]\n"note.flash" = ["f5"]\n')
    assert keys(read_keymap(path), "note.flash") == ("f5",)
    for text in ("[keys", "x" * (MAX_BYTES + 1)):
        path.write_text(text)
        broken = read_keymap(path)
        assert broken.actions == ACTIONS
        assert len(broken.problems) == 1


@given(st.text(max_size=12))
def test_whatever_is_typed_is_a_key_or_none(text: str) -> None:
    assert key_in_words(key_name(text) or "x").isprintable()


async def test_the_desk_goes_by_them() -> None:
    own = remapped(
        {"keys": {"note.flash": ["f5"], "app.help": ["f1", "w"], "note.write": ["F"]}}, "keys.toml"
    )
    async with stage(keymap=own) as play:
        await play.until_shown("F1 Help")
        await play.press("F")
        await play.until_shown(" note to alpha")
        assert "FLASH" not in play.picture
        await play.press("escape", "f5")
        await play.until_shown("FLASH note to alpha")
        await play.press("escape", "w")
        await play.until_shown("F5")
        await play.press("escape")


async def test_dialogs_and_sentences_go_by_them() -> None:
    own = {
        "list.down": ["t"],
        "list.end": ["e"],
        "app.help": ["w"],
        "view.back": ["x"],
        "note.write": ["v"],
        "app.theme": [],
        "node.emcon": [],
        "team.remove": [],
    }
    async with stage(keymap=remapped({"keys": own}, "keys.toml"), node=ScriptedNode(team=False)) as play:
        await play.until_shown("v writes the first note")
        await play.press("w")
        await play.until_shown("WHAT IT DOES")
        lines = play.app.screen.query_one(Lines)
        await play.press("t", "down", "j")
        assert lines.listing.cursor == 2
        await play.press("e")
        assert lines.listing.cursor == len(lines.listing) - 1
        for leaves in ("x", "w", "escape"):
            await play.press(leaves)
            await play.until(lambda: play.app.screen is play.app.desk)
            await play.press("w")
            await play.until_shown("WHAT IT DOES")
        await play.press("h")
        assert play.app.screen is not play.app.desk, "the key was given to nothing"


async def test_what_is_wrong_is_said_at_the_desk() -> None:
    async with stage(keymap=remapped({"keys": {"note.sing": ["x"]}}, "keys.toml")) as play:
        assert "there is no action note.sing" in play.notice
