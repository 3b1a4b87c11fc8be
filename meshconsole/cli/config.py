"""The configuration: show, check, set. A running node applies what it can at once."""

from __future__ import annotations

from argparse import SUPPRESS
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, ask_for, how_to_make, runs
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, say
from meshconsole.control.config import ConfigData, GetConfig, ReloadConfig, SetConfig
from meshconsole.core.config import (
    Config,
    ConfigError,
    Values,
    parse_settings,
    shown_values,
    to_values,
    with_values,
)
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    import argparse

    from meshconsole.core.home import Home


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=show)
    parser.add_argument("--json", action="store_true", help="as JSON")
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: show)")
    showing = actions.add_parser("show", help="every value that is in force for this home")
    showing.set_defaults(run=show)
    checking = actions.add_parser("check", help="name every problem of the file and the environment")
    checking.set_defaults(run=check)
    setting = actions.add_parser("set", help="change values, in the file and in the running node")
    setting.add_argument("values", nargs="+", metavar="SECTION.KEY=VALUE")
    setting.set_defaults(run=set_values)
    reloading = actions.add_parser("reload", help="have the running node read config.toml again")
    reloading.set_defaults(run=reload)
    for action in (showing, checking, setting, reloading):
        # SUPPRESS: what stands before the action must survive the action's own default.
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.add_argument("--home", default=SUPPRESS, help=SUPPRESS)


def show(parsed: argparse.Namespace) -> None:
    values = _values_in_force(home_of(parsed.home))
    if parsed.json:
        print_json(values)
        return
    defaults = to_values(Config())
    for number, (section, entries) in enumerate(values.items()):
        say(f"\n[{section}]" if number else f"[{section}]")
        for key, value in entries.items():
            mark = "" if _toml(value) == _toml(defaults[section][key]) else "   # changed"
            say(f"{key} = {_toml(value)}{mark}")


def _values_in_force(home: Home) -> Values:
    """A running node's own (it may have been started with --set), else those of the file."""
    if runs(home):
        return ask_for(home, GetConfig(), ConfigData).values
    from meshconsole.node.config_file import load_config

    return shown_values(load_config(home))


def _toml(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def check(parsed: argparse.Namespace) -> int:
    from meshconsole.node.config_file import check_config

    home = home_of(parsed.home)
    problems = check_config(home)
    if parsed.json:
        print_json(problems)
    elif not problems:
        say(
            f"{home.config}: no problems."
            if home.config.exists()
            else f"{home.config} does not exist: all defaults."
        )
    else:
        for problem in problems:
            say(str(problem))
    return 2 if problems else 0


def set_values(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    values, problems = parse_settings(parsed.values)
    if problems:
        raise ConfigError(problems)
    with_values(Config(), values)  # named here, before anything is sent or written
    if not home.keystore.exists():
        raise Fatal(f"There is no node in {home.path}.", hint=how_to_make(home))
    if runs(home):
        waiting = ask_for(home, SetConfig(values), ConfigData).waiting
        say(f"Saved; {', '.join(waiting)} from the next start on." if waiting else "Saved, and in force.")
    else:
        _write(home, values)


def reload(parsed: argparse.Namespace) -> None:
    reply = ask(home_of(parsed.home), ReloadConfig())
    if parsed.json:
        print_json(reply.data)
    else:
        say(reply.verdict.sentence)


def _write(home: Home, values: Values) -> None:
    from meshconsole.node.config_file import write_values

    write_values(home, values)
    say("Saved; in force from the next start on.")
