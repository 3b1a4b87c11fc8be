"""The whole command line as one tree of parsers, for what is written from it: man page and completions."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from meshconsole.cli.main import COMMANDS, Parser

if TYPE_CHECKING:
    from collections.abc import Iterator


class Leaf(NamedTuple):
    """A command or, under a command, an action: its words, its summary and its parser."""

    words: tuple[str, ...]
    summary: str
    parser: argparse.ArgumentParser


def leaves() -> Iterator[Leaf]:
    """Every command in the order of the help, each followed by its actions."""
    for name, entry in COMMANDS.items():
        parser = Parser(prog=f"meshconsole {name}")
        import_module(f"meshconsole.cli.{entry.group}").configure(name, parser)
        yield from _below((name,), entry.summary, parser)


def _below(words: tuple[str, ...], summary: str, parser: argparse.ArgumentParser) -> Iterator[Leaf]:
    yield Leaf(words, summary, parser)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, child in action.choices.items():
                yield from _below((*words, name), texts.get(name, ""), child)


def whole() -> argparse.ArgumentParser:
    """One parser that holds every command. `meshconsole` itself loads one group at a time."""
    top = Parser(prog="meshconsole", description="A terminal mesh console for teams without internet.")
    top.add_argument("--home", metavar="FOLDER", help="the node's home")
    top.add_argument("--version", action="version", version="")
    commands = top.add_subparsers()
    for name, entry in COMMANDS.items():
        parser = commands.add_parser(name, help=entry.summary)
        import_module(f"meshconsole.cli.{entry.group}").configure(name, parser)
        parser.add_argument("--home", metavar="FOLDER", help="the node's home")
    return top


def options(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """What a person may give, without help and actions."""
    for action in parser._actions:
        hidden = isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
        if not hidden and action.help != argparse.SUPPRESS:
            yield action


def places(parser: argparse.ArgumentParser) -> Iterator[str]:
    """What is given without an option, in order; in brackets what may be left out."""
    for action in options(parser):
        if not action.option_strings:
            name = str(action.metavar or action.dest).upper()
            yield f"[{name}]" if action.nargs in ("?", "*") else name


def value_name(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(map(str, action.choices))
    shown: Any = action.metavar or action.dest.upper()
    return str(shown)
