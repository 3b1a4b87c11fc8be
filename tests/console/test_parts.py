"""The pure parts: profile, words, meters, sparklines, settings in words, commands, names of files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.console.actions import (
    ACTIONS,
    BY_COMMAND,
    BY_ID,
    FOOTER,
    PANE_FOOTER,
    key_in_words,
    parse_command,
)
from meshconsole.console.choices import ALL, CAPABILITIES, in_words, next_value, value_of
from meshconsole.console.ink import Line, fit, joined, wrap
from meshconsole.console.profile import GLYPHS, decide, too_small
from meshconsole.console.verbs import VERBS
from meshconsole.console.verbs.files import absolute, complete, file_name
from meshconsole.console.widgets.meter import Meter, draw_meters, level
from meshconsole.console.widgets.spark import spark
from meshconsole.console.words import (
    ago_in_words,
    clock_in_words,
    count_in_words,
    duration_in_words,
    moment_in_words,
    rate_in_words,
    short_key,
    size_in_words,
)
from meshconsole.core.config import Config, to_values
from meshconsole.core.errors import Fatal
from meshconsole.core.history import History

UTF8 = {"LANG": "de_DE.UTF-8"}


@pytest.mark.parametrize(
    ("environment", "colour", "glyphs"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", **UTF8}, "true", "unicode"),
        ({"TERM": "xterm-256color", **UTF8}, "256", "unicode"),
        ({"TERM": "xterm-kitty", **UTF8}, "true", "unicode"),
        ({"TERM": "xterm", **UTF8}, "16", "unicode"),
        ({"TERM": "linux", **UTF8}, "16", "console"),
        ({"TERM": "linux", "LANG": "C"}, "16", "ascii"),
        ({"TERM": "vt100", "LANG": "C"}, "mono", "ascii"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1", **UTF8}, "mono", "unicode"),
        ({"TERM": "xterm-256color", "NO_COLOR": "", **UTF8}, "256", "unicode"),
        ({"TERM": "xterm", "LC_ALL": "POSIX", **UTF8}, "16", "ascii"),
        ({"TERM": "xterm"}, "16", "ascii"),
    ],
)
def test_the_profile_follows_the_terminal(environment: dict[str, str], colour: str, glyphs: str) -> None:
    profile = decide(environment)
    assert (profile.colour, profile.glyph_set) == (colour, glyphs)


def test_the_mouse_and_the_pace_follow_the_line() -> None:
    here = {"TERM": "xterm", **UTF8}
    assert (decide(here).mouse, decide(here).fps) == (True, 4.0)
    there = {**here, "SSH_CONNECTION": "192.0.2.1 5 192.0.2.2 22"}
    assert (decide(there).mouse, decide(there).fps) == (False, 1.0)
    assert decide(there, mouse=True).mouse
    serial = decide(here, tty="/dev/ttyS0")
    assert (serial.mouse, serial.fps) == (False, 0.5)
    assert decide(here, fps=0.25).fps == 0.25
    assert (decide(here, fps=1000).fps, decide(here, fps=-1).fps) == (10.0, 0.1)


@pytest.mark.parametrize("term", ["dumb", "", "unknown"])
def test_a_terminal_that_cannot_place_a_cursor_is_refused(term: str) -> None:
    with pytest.raises(Fatal, match="cannot show the console") as refused:
        decide({"TERM": term})
    assert "meshconsole status" in refused.value.hint
    assert refused.value.exit_code == 2


def test_a_small_terminal_is_told_its_size() -> None:
    assert too_small(50, 16) == ""
    assert "20x5" in too_small(20, 5)
    assert too_small(49, 16)
    assert too_small(50, 15)


def test_every_glyph_is_one_cell() -> None:
    from rich.cells import cell_len

    for glyphs in GLYPHS.values():
        for name in glyphs.__slots__:
            sign = getattr(glyphs, name)
            assert cell_len(sign) == len(sign)
            assert len(sign) == 1 or name == "spark"
    assert all(getattr(GLYPHS["ascii"], name).isascii() for name in GLYPHS["ascii"].__slots__)


def test_quantities_read_well() -> None:
    assert [size_in_words(n) for n in (0, 999, 1000, 9_949, 9_950, 318_000_000, 1.5e12)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "9.9 kB",
        "9.9 kB",
        "318 MB",
        "1.5 TB",
    ]
    assert size_in_words(1e18).endswith(" TB")
    assert [rate_in_words(r) for r in (0, 100, 20_000, 150_000)] == [
        "0 bit/s",
        "800 bit/s",
        "160 kbit/s",
        "1.2 Mbit/s",
    ]
    assert count_in_words(1_204_480) == "1 204 480"
    assert [duration_in_words(s) for s in (-5, 59, 61, 8061, 300_000)] == [
        "0 s",
        "59 s",
        "1 min",
        "2h14",
        "3 d",
    ]
    assert ago_in_words(None, 5) == "never"
    assert ago_in_words(1, 5) == "4 s ago"
    assert short_key("ab" * 32) == "ababab…abab"
    assert short_key("short") == "short"


@given(st.floats() | st.integers())
def test_no_time_breaks_the_clock(at: float) -> None:
    assert clock_in_words(at)
    assert moment_in_words(at)


@given(st.floats(0, 1e15), st.floats(0, 1e15), st.integers(1, 120))
def test_a_meter_fills_its_line_and_never_lies_at_its_ends(used: float, allowed: float, width: int) -> None:
    glyphs = GLYPHS["ascii"]
    (line,) = draw_meters([Meter("used", used, allowed, "1 of 2")], width, glyphs)
    text = "".join(part for part, _ in line)
    word, _ = level(used, allowed)
    if "#" in text or "." in text:
        assert len(text) == width
        assert ("#" in text) == (used / allowed > 0)
        assert ("." in text) == (used < allowed)
    if word not in ("ok", "no limit"):
        assert word in text


def test_meters_of_one_pane_stand_below_each_other() -> None:
    lines = draw_meters(
        [Meter("in", 1, 10, "1 of 10"), Meter("memory", 9.5, 10, "9.5 of 10 MB")], 60, GLYPHS["ascii"]
    )
    texts = ["".join(part for part, _ in line) for line in lines]
    assert [text.index("#") for text in texts] == [7, 7]
    assert [text.rindex(".") if text.endswith("10") else text.index("9.5") for text in texts]
    assert texts[1].endswith("nearly full")
    assert {len(text) for text in texts} == {60}


@given(st.lists(st.floats(0, 1e12), max_size=60), st.integers(0, 50))
def test_a_sparkline_is_as_wide_as_asked(values: list[float], width: int) -> None:
    line = spark(values, width, GLYPHS["ascii"].spark)
    assert len(line) == width
    shown = values[-width:] if width else []
    for value, sign in zip(reversed(shown), reversed(line), strict=False):
        assert (sign == " ") == (value == 0)


def test_history_keeps_the_pace_of_time_not_of_messages() -> None:
    history = History(step_s=2.0)
    for now, value in ((0.0, 1.0), (0.5, 5.0), (1.9, 2.0), (2.0, 3.0), (9.0, 7.0), (1.0, 4.0)):
        history.put(now, value)
    assert list(history.values) == [5.0, 3.0, 3.0, 3.0, 7.0, 4.0]


@given(st.text(max_size=60), st.integers(1, 40))
def test_fitted_text_has_exactly_its_cells(text: str, width: int) -> None:
    from rich.cells import cell_len

    assert cell_len(fit(text, width)) == width or any(cell_len(c) == 2 for c in text)
    assert all(cell_len(line) <= max(2, width) for line in wrap(text, width))


def test_wrapped_text_loses_nothing_but_spaces() -> None:
    text = "one two threeandaverylongword four"
    assert "".join(wrap(text, 7)).replace(" ", "") == text.replace(" ", "")


# The registry.


def test_every_action_has_a_verb_and_every_verb_an_action() -> None:
    assert VERBS.keys() == BY_ID.keys()


def test_no_two_actions_share_a_key_or_a_command() -> None:
    keys = [key for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))
    commands = [action.command for action in ACTIONS if action.command]
    assert len(commands) == len(set(commands))


def test_every_action_can_be_reached() -> None:
    assert [action.id for action in ACTIONS if not action.keys and not action.command] == []


@pytest.mark.parametrize("names", [FOOTER, *PANE_FOOTER.values()])
def test_the_footer_fits_into_eighty_columns(names: tuple[str, ...]) -> None:
    words = [f"{key_in_words(BY_ID[name].keys[0])} {BY_ID[name].short}" for name in names]
    assert len("  ".join(words)) <= 78
    assert all(BY_ID[name].short for name in names)


def test_commands_are_found_by_their_beginning_or_explained() -> None:
    assert parse_command("note Hello there") == (BY_ID["note.write"], "Hello there")
    assert parse_command(" quit ") == (BY_ID["app.quit"], "")
    assert parse_command("inv") == (BY_ID["team.invite"], "")
    ambiguous = parse_command("p")
    assert isinstance(ambiguous, str)
    assert "which of" in ambiguous
    unknown = parse_command("fly")
    assert isinstance(unknown, str)
    assert all(command in unknown for command in BY_COMMAND)


# Settings.


def test_every_setting_exists_and_says_what_it_is() -> None:
    values = to_values(Config())
    for setting in ALL:
        assert setting.name in values[setting.section]
        assert setting.help
        assert in_words(setting, value_of(values, setting))
        assert setting.kind
    assert all(word in CAPABILITIES[0].help for word in ("Shares", "Costs", "Gives", "Needs"))


def test_a_press_turns_what_can_be_turned() -> None:
    by_key = {setting.key: setting for setting in ALL}
    assert next_value(by_key["capabilities.ipfs_node"], True) is False
    assert next_value(by_key["limits.performance_mode"], "full") == "auto"
    assert next_value(by_key["limits.performance_mode"], "auto") == "saver"
    assert next_value(by_key["console.theme"], "b", ("a", "b")) == "a"
    assert next_value(by_key["console.theme"], "gone", ("a", "b")) == "a"
    assert next_value(by_key["limits.max_storage_mb"], 512) is None
    assert in_words(by_key["limits.max_bandwidth_mbps"], 0.0) == "no limit"
    assert value_of({}, by_key["limits.max_storage_mb"]) == 512


# Names of files.


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("map.pdf", "map.pdf"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".bashrc", "bashrc"),
        ("a\x1b]52;c;x\x07b", "a]52;c;xb"),
        ("\u202efdp.exe", "fdp.exe"),
        ("", "file"),
        ("...", "file"),
    ],
)
def test_a_strangers_file_name_becomes_a_plain_one(name: str, plain: str) -> None:
    assert file_name(name) == plain


@given(st.text(max_size=300))
def test_no_file_name_leaves_its_folder(name: str) -> None:
    plain = file_name(name)
    assert "/" not in plain
    assert not plain.startswith(".")
    assert (Path("/tmp") / plain).parent == Path("/tmp")


def test_paths_are_completed_as_far_as_they_agree(tmp_path: Path) -> None:
    for name in ("map-north.pdf", "map-south.pdf", "notes.txt", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert complete(f"{tmp_path}/m") == f"{tmp_path}/map-"
    assert complete(f"{tmp_path}/no") == f"{tmp_path}/notes.txt"
    assert complete(f"{tmp_path}/fol") == f"{tmp_path}/folder/"
    assert complete(f"{tmp_path}/.h") == f"{tmp_path}/.hidden"
    assert complete(f"{tmp_path}/zzz") == f"{tmp_path}/zzz"
    assert complete(f"{tmp_path}/nowhere/x") == f"{tmp_path}/nowhere/x"
    assert absolute("~/x") == Path.home() / "x"
    assert absolute("a/../b").is_absolute()


@pytest.mark.parametrize(
    ("spans", "line"),
    [
        ([("a", "dim"), (" ", ""), ("b", "dim")], [("a b", "dim")]),
        ([(" ", "accent"), ("a", "dim"), ("  ", ""), ("b", "")], [(" a  ", "dim"), ("b", "")]),
        ([("a", "good"), ("", ""), ("b", "good")], [("a", "good"), ("", ""), ("b", "good")]),
        ([("  ", ""), (" ", "bad")], [("   ", "")]),
        ([], []),
    ],
)
def test_parts_that_look_alike_are_one(spans: Line, line: Line) -> None:
    assert joined(spans) == line
    assert "".join(text for text, _ in joined(spans)) == "".join(text for text, _ in spans)
