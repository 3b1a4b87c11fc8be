"""The console as a program on a real pseudo-terminal: what reaches it, and how it is left behind."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.console.terminal import Terminal

MOUSE = '{"mouse": true}'
CALM_MOUSE = '{"mouse": true, "fps": 1}'

# What Textual sends on purpose: pointer shape, SGR, cursor, modes, keyboard protocol, device queries.
KNOWN = re.compile(rb"\x1b\]22;[a-z-]*\x07|\x1b\[[0-9;:?<>=]*(?:[mHhlJKGABCDurtqn]|\$p)|\x1b[78=>cM]|\x1b\(B")


def test_nothing_hostile_reaches_the_terminal() -> None:
    with Terminal("hostile", CALM_MOUSE, width=120, height=30) as terminal:
        terminal.until_shown("[@click=app.quit]")
        for key, shown, leave in (
            ("1\r", "hears us", "q"),
            ("2\r", "received", "q"),
            ("3z", "3 Storage", "z"),
            ("4z", "4 Limits", "z"),
            ("6\r", "fingerprint", "q"),
            ("7", "AUDIT LOG", ""),
            ("\r", "Audit log", "q"),
            ("8\r", "to do", "q"),
            ("5\r", "save as", "\x1b"),
            ("9", "WHO HEARS WHOM", ""),
            ("b", "ANSWERED", "q"),
            (":receipts\r", "Receipts", "q"),
            ("A", "A second admin", "\x1b"),
            ("n", "note to", "x\r\x1b"),
            ("?", "WHAT IT DOES", "q"),
        ):
            terminal.type(key)
            terminal.until_shown(shown)
            terminal.type(leave)
            if leave not in ("z", ""):
                terminal.until_gone(shown)
        terminal.type("q")
        terminal.until_shown("Keep it running")
        terminal.type("k")
        assert terminal.ended() == 0
        sent = terminal.output
        left = KNOWN.sub(b"", sent)
        assert b"\x1b" not in left, re.findall(rb"\x1b.{12}", left)[:5]
        assert left.count(b"\x07") == 1, "the bell for the flash notes, and no other"
        assert not re.search(rb"\xc2[\x80-\x9f]", sent)
        assert all(sign.encode() not in sent for sign in ("\u202e", "\u2066", "\x00", "\x7f"))
        # Drawn as what it is, not taken for markup.
        assert b"[bold]" in sent
        assert b"52;c;SGVsbG8=" in sent
        assert terminal.is_restored()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_ends_it_and_gives_the_terminal_back(number: signal.Signals, code: int) -> None:
    with Terminal("busy", MOUSE) as terminal:
        terminal.until_shown("falcon-2")
        terminal.signal(number)
        assert terminal.ended() == code
        assert terminal.is_restored()


def test_a_lost_terminal_ends_it() -> None:
    with Terminal("busy") as terminal:
        terminal.until_shown("falcon-2")
        assert terminal.hang_up() == 129


@pytest.mark.slow
def test_a_terminal_that_stops_reading_does_not_keep_it_alive() -> None:
    with Terminal("flood", '{"fps": 10}', width=200, height=60) as terminal:
        terminal.until_shown("medic")
        # Nobody reads any more: the write queue fills up and blocks the console's loop.
        while _waiting_to_write(terminal.process.pid) is False:
            terminal.process.poll()
        terminal.signal(signal.SIGTERM)
        assert terminal.process.wait(20) == 143


def _waiting_to_write(pid: int) -> bool:
    """Whether some thread of the process waits for room in the terminal."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        if (task / "wchan").read_text() in ("wait_woken", "n_tty_write"):
            return True
    return False


def test_a_crash_prints_no_values_and_fails() -> None:
    with Terminal("crash") as terminal:
        terminal.until_shown("falcon-2")
        terminal.type("8")
        assert terminal.ended() == 1
        assert b"correct horse" not in terminal.output.replace(b'"correct horse battery staple"', b"")
        assert b"ZeroDivisionError" in terminal.output
        assert b"a fault of its own" in terminal.output
        assert b"desk =" not in terminal.output
        assert terminal.is_restored()


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_dumb_terminal_is_refused_with_a_sentence(term: str) -> None:
    with Terminal("busy", TERM=term) as terminal:
        assert terminal.ended() == 2
        assert b"cannot show the console" in terminal.output
        assert b"meshconsole status" in terminal.output
        assert b"\x1b" not in terminal.output


def test_a_tiny_terminal_shows_a_sentence_until_it_is_enlarged() -> None:
    with Terminal("busy", width=20, height=5) as terminal:
        terminal.until_shown("Too small: 20x5.")
        terminal.resize(80, 24)
        terminal.until_shown("falcon-2")
        terminal.type("q")
        terminal.until_shown("Keep it running")
        terminal.type("k")
        assert terminal.ended() == 0


def test_sixteen_colours_on_the_linux_console_over_ssh() -> None:
    with Terminal("busy", TERM="linux", SSH_CONNECTION="192.0.2.1 1 192.0.2.2 22") as terminal:
        terminal.until_shown("falcon-2")
        terminal.type("q")
        terminal.until_shown("Keep it running")
        assert not re.search(rb"\x1b\[[0-9;]*[34]8;[25]", terminal.output)
        assert re.search(rb"\x1b\[[0-9;]*3[1-6]", terminal.output)
        assert b"\x1b[?1000h" not in terminal.output
        assert b"\x1b[?1003h" not in terminal.output
        shown = {sign for sign in terminal.text if not sign.isascii()}
        assert shown <= set("█░●○°\N{MULTIPLICATION SIGN}·…┌┐└┘│─═║╔╗╚╝▀▄")


def test_without_colour_and_beyond_ascii_nothing_is_lost() -> None:
    with Terminal("busy", NO_COLOR="1", LC_ALL="POSIX") as terminal:
        for word in ("up", "suspect", "connecting", "down", "refused", "> 2 Events"):
            terminal.until_shown(word)
        assert not re.search(rb"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]", terminal.output)
        assert all(byte < 0x80 for byte in terminal.output)


def test_the_first_run_ended_by_a_signal_is_an_error() -> None:
    with Terminal("first") as terminal:
        terminal.until_shown("Your name")
        terminal.signal(signal.SIGTERM)
        assert terminal.ended() == 143
        assert b"Nothing was kept" in terminal.output
        assert terminal.is_restored()
