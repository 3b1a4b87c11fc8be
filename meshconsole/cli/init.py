"""`meshconsole init`: makes a home. Asks on a terminal; with --yes it takes flags and defaults.

Nothing is offered to others before the owner has said yes: the questions explain each capability, and
--yes is that yes for everything not switched off with --without.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from meshconsole.cli.home import add_passphrase_file, ask_passphrase, command_line, given_passphrase, home_of
from meshconsole.cli.node import finish_owed_wipe
from meshconsole.cli.output import say
from meshconsole.core.config import Config, ConfigError, parse_settings, with_values
from meshconsole.core.errors import Fatal
from meshconsole.core.setup import OPT_INS, FirstRun
from meshconsole.crypto.suites import SUITES

if TYPE_CHECKING:
    import argparse

    from meshconsole.core.home import Home
    from meshconsole.crypto.recovery import Recovered

MAX_NAME_CHARS = 64


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="ask nothing: flags, and defaults for the rest")
    parser.add_argument("--name", help="this device's name (default: the machine's)")
    parser.add_argument("--team", metavar="NAME", help="found a team of this name")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        choices=[option.key for option in OPT_INS],
        help="do not offer this to others (repeatable)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="settings",
        help="a setting for the new home (repeatable)",
    )
    add_passphrase_file(parser)
    parser.add_argument("--key-file", metavar="FILE", help="a file that opens the home too; made if missing")
    parser.add_argument(
        "--suite",
        default="MC1",
        choices=[suite.name for suite in SUITES],
        help="MC2: the CNSA 2.0 algorithms, for teams founded with them; for good (default: MC1)",
    )
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument(
        "--restore", metavar="FILE", help="the identity of a backup: its text or its shares; - to type it"
    )
    origin.add_argument(
        "--import-nsec", metavar="FILE", help="a Nostr key of yours in place of a new one; - to type it"
    )
    parser.set_defaults(run=init)


def init(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    finish_owed_wipe(home)
    refuse_second_node(home)
    if not parsed.yes and not sys.stdin.isatty():
        raise Fatal("init asks questions, and this is no terminal.", hint="Use --yes to take the defaults.")
    recovered = _recovered(parsed)
    first_run = unattended(parsed) if parsed.yes else _asked(parsed)
    first_run = msgspec.structs.replace(first_run, suite=_suite(parsed, recovered))
    passphrase = given_passphrase(parsed)
    if passphrase is None and not parsed.yes:
        passphrase = new_passphrase()
    keyfile = Path(parsed.key_file).absolute() if parsed.key_file else None
    make_home(home, first_run, passphrase, recovered, keyfile)
    _report(home, first_run, passphrase)
    if parsed.restore:
        say("It is the device of the backup. If the old one still exists, never start it again; if it may be")
        say("in other hands, have it removed and join as a new device. To get the team: team join INVITE")


def _suite(parsed: argparse.Namespace, recovered: Recovered | None) -> int:
    if recovered is not None:
        return recovered.suite
    return next(suite.id for suite in SUITES if suite.name == parsed.suite)


def _recovered(parsed: argparse.Namespace) -> Recovered | None:
    """The identity that --restore or --import-nsec names. Raises Fatal and Refused."""
    if parsed.restore:
        from meshconsole.crypto.recovery import MAX_TEXT_LEN, read_backup

        question = "The backup's text, or its shares, one on each line; an empty line ends:"
        return read_backup(_secret_text(parsed.restore, question, MAX_TEXT_LEN))
    if parsed.import_nsec:
        from meshconsole.crypto.recovery import Recovered
        from meshconsole.crypto.schnorr import nsec_from_bech32

        text = _secret_text(parsed.import_nsec, "The nsec; an empty line ends:", 1024)
        return Recovered(_suite(parsed, None), os.urandom(32), nsec_from_bech32(text))
    return None


def _secret_text(source: str, question: str, limit: int) -> str:
    """From a file, or typed (or piped) up to an empty line."""
    if source != "-":
        try:
            with open(source, encoding="utf-8") as file:
                return file.read(limit + 1)
        except UnicodeDecodeError as error:
            raise Fatal(f"{source} is not text.") from error
        except OSError as error:
            raise Fatal(f"{source} cannot be read: {error.strerror}.") from error
    if sys.stdin.isatty():
        say(question)
    lines: list[str] = []
    while line := sys.stdin.readline(limit).strip():
        lines.append(line)
    return "\n".join(lines)


def refuse_second_node(home: Home) -> None:
    """Before anything is asked. Raises Fatal."""
    if home.keystore.exists():
        raise Fatal(
            f"{home.path} already holds a node.",
            hint=f"Start it with '{command_line('meshconsole', home)}', or choose another --home.",
        )


def unattended(parsed: argparse.Namespace) -> FirstRun:
    """The answers that the flags give."""
    return FirstRun(
        name=_checked_name(parsed.name or default_name()),
        team="create" if parsed.team else "later",
        team_name=_checked_name(parsed.team) if parsed.team else "",
        config=_config(parsed, dict.fromkeys(parsed.without, False)),
    )


def default_name() -> str:
    return platform.node().partition(".")[0][:MAX_NAME_CHARS] or "unnamed"


def make_home(
    home: Home,
    first_run: FirstRun,
    passphrase: str | None,
    recovered: Recovered | None = None,
    keyfile: Path | None = None,
) -> None:
    from meshconsole.node.setup import create_home

    create_home(home, first_run, passphrase, recovered=recovered, keyfile=keyfile)


def _config(parsed: argparse.Namespace, capabilities: dict[str, bool]) -> Config:
    """Defaults, then the answers, then --set. Raises ConfigError."""
    values, problems = parse_settings(parsed.settings)
    if problems:
        raise ConfigError(problems)
    name = _checked_name(parsed.name or default_name())
    config = with_values(Config(), {"node": {"name": name}, "capabilities": dict(capabilities)}, "answers")
    return with_values(config, values)


def _checked_name(name: str) -> str:
    stripped = name.strip()
    if not 1 <= len(stripped) <= MAX_NAME_CHARS or not stripped.isprintable():
        raise Fatal(
            f"{name!r} cannot be a name.", hint=f"1 to {MAX_NAME_CHARS} printable characters.", exit_code=2
        )
    return stripped


# --- the questions --------------------------------------------------------------------------------


def _asked(parsed: argparse.Namespace) -> FirstRun:
    say("This makes a node on this device. Every answer can be changed later.\n")
    parsed.name = _checked_name(parsed.name or _line("Name of this device", default_name()))
    team_name = parsed.team or _line("Found a team? Its name, or nothing to join one later", "")
    capabilities: dict[str, bool] = {}
    for option in OPT_INS:
        if option.key in parsed.without:
            capabilities[option.key] = False
            continue
        say(f"\n{option.title}")
        for label, words in (
            ("shares", option.shares),
            ("costs", option.costs),
            ("gives", option.gives),
            ("needs", option.needs),
        ):
            say(f"  {label}  {words}")
        capabilities[option.key] = _yes(f"Offer the {option.title}?")
    say("")
    if not any(setting.startswith("limits.max_storage_mb") for setting in parsed.settings):
        storage = _line("Most storage, in MB", str(Config().limits.max_storage_mb))
        parsed.settings.append(f"limits.max_storage_mb={storage}")
    if not any(setting.startswith("limits.max_bandwidth_mbps") for setting in parsed.settings):
        bandwidth = _line("Most bandwidth, in Mbit/s each way", str(Config().limits.max_bandwidth_mbps))
        parsed.settings.append(f"limits.max_bandwidth_mbps={bandwidth}")
    return FirstRun(
        name=parsed.name,
        team="create" if team_name else "later",
        team_name=_checked_name(team_name) if team_name else "",
        config=_config(parsed, capabilities),
    )


def new_passphrase() -> str | None:
    """Asked twice; None when the owner wants a node that opens without one."""
    say("\nA passphrase protects keys and messages if this device is lost. Without one, a key file in the")
    say("home opens them: right for a node that must start alone, no protection against theft.")
    while True:
        first = ask_passphrase("Passphrase (nothing for none): ")
        if not first:
            return None
        if first == ask_passphrase("Once more: "):
            return first
        say("The two differ. Again, please.")


def _line(question: str, default: str) -> str:
    shown = f"{question} [{default}]: " if default else f"{question}: "
    try:
        return input(shown).strip() or default
    except EOFError:
        raise Fatal("The questions were not answered; nothing was made.") from None


def _yes(question: str) -> bool:
    return _line(f"{question} yes/no", "yes").lower() in ("y", "yes")


def _report(home: Home, first_run: FirstRun, passphrase: str | None) -> None:
    say(f"{first_run.name} lives in {home.path} now.")
    if first_run.team == "create":
        say(f"Team {first_run.team_name} exists; this node is its first admin.")
    if passphrase is None:
        say("No passphrase: its keys open with a key file in the home, so that it can start alone.")
    say(f"Start it: {command_line('meshconsole', home)}")
    say(f"or without a console: {command_line('meshconsole node', home)}")
