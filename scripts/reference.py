"""Writes from the code: docs/reference.md (every command with its options, every key of the configuration),
the man page, and the completions of bash and zsh.

`make reference` writes it; a test compares it, so that the two cannot drift apart.
"""

from __future__ import annotations

import argparse
import ast
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import shtab

from meshconsole.cli.main import COMMANDS, Parser
from meshconsole.core import config as core
from meshconsole.core import sections
from scripts.cli_tree import options, places, value_name, whole
from scripts.examples import example_of
from scripts.keymap import keymap
from scripts.manpage import EXITS, manpage
from scripts.monitor import figures

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "docs" / "reference.md"
SHARE = ROOT / "deploy" / "share"
HEAD = """\
# Reference

Written from the code by `make reference`; edit the code, not this file.
"""


def reference() -> str:
    return "\n".join([HEAD, *_commands(), *_configuration(), *_environment()]).rstrip() + "\n"


# --- commands -------------------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    yield "Every command takes `--home FOLDER`: the node's home, else `$MESHCONSOLE_HOME`, else the"
    yield "platform's data folder. `meshconsole` alone is `meshconsole run`.\n"
    for name, entry in COMMANDS.items():
        parser = Parser(prog=f"meshconsole {name}")
        import_module(f"meshconsole.cli.{entry.group}").configure(name, parser)
        yield f"### meshconsole {name}\n"
        yield f"{entry.summary[0].upper()}{entry.summary[1:]}.\n"
        yield from _arguments(parser)
        yield from _example(name)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from _actions(action)


def _actions(group: argparse._SubParsersAction[Any]) -> Iterator[str]:
    summaries = {choice.dest: choice.help for choice in group._choices_actions}
    for name, parser in group.choices.items():
        yield f"**{' '.join([parser.prog, *places(parser)])}**: {summaries.get(name) or ''}.\n"
        yield from _arguments(parser)
        yield from _example(*parser.prog.split()[1:])


def _example(*words: str) -> Iterator[str]:
    if lines := example_of(*words):
        yield from ("```console", *lines, "```", "")


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    lines = list(_argument_lines(parser))
    if lines:
        yield from lines
        yield ""


def _argument_lines(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in options(parser):
        if action.option_strings:
            value = "" if action.nargs == 0 else f" {value_name(action)}"
            yield f"- `{', '.join(action.option_strings)}{value}`: {action.help or 'a setting'}"
        elif action.help:
            yield f"- `{str(action.metavar or action.dest).upper()}`: {action.help}"


# --- configuration --------------------------------------------------------------------------------


def _configuration() -> Iterator[str]:
    yield "## Configuration\n"
    yield "`config.toml` in the home. Defaults < file < `MESHCONSOLE_SECTION_KEY` in the environment <"
    yield "`--set section.key=value`. Keys marked with * take effect at once in a running node, the others"
    yield "at its next start.\n"
    notes = _notes()
    for section, kind in core.section_types().items():
        yield f"### [{section}]\n"
        yield f"{kind.__doc__}\n"
        yield "| key | value | default | meaning |"
        yield "|---|---|---|---|"
        defaults = kind()
        for key, annotation in core.field_types(kind).items():
            star = "*" if f"{section}.{key}" in core.RELOADABLE else ""
            default = _toml(getattr(defaults, key))
            note = notes.get((kind.__name__, key), "")
            yield f"| `{key}`{star} | {_kind(annotation)} | `{default}` | {note} |"
        yield ""


def _notes() -> dict[tuple[str, str], str]:
    """The strings that follow fields in core/sections.py."""
    found: dict[tuple[str, str], str] = {}
    for node in ast.walk(ast.parse(Path(str(sections.__file__)).read_text())):
        if not isinstance(node, ast.ClassDef):
            continue
        for before, after in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(before, ast.AnnAssign)
                and isinstance(before.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[node.name, before.target.id] = " ".join(str(after.value.value).split())
    return found


def _kind(annotation: Any) -> str:  # noqa: ANN401 - a type expression
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list of text"
    if get_origin(annotation) is Annotated:
        base, meta = get_args(annotation)[:2]
        if meta.max_length is not None:
            return f"text of {meta.min_length or 0} to {meta.max_length} characters"
        return f"{_kind(base)}, {meta.ge:g} to {_bound(meta.le)}"
    return {bool: "on or off", int: "whole number", float: "number", str: "text"}[annotation]


def _bound(value: float) -> str:
    return "2^40" if value == 1 << 40 else f"{value:,.0f}".replace(",", " ")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


# --- environment ----------------------------------------------------------------------------------


def _environment() -> Iterator[str]:
    yield "## Environment\n"
    yield "| name | meaning |"
    yield "|---|---|"
    yield "| `MESHCONSOLE_HOME` | the node's home, if `--home` is not given |"
    yield "| `MESHCONSOLE_PASSPHRASE` | opens the keystore, if `--passphrase-file` is not given |"
    yield (
        "| `CREDENTIALS_DIRECTORY` | set by systemd: its `meshconsole.key` or `meshconsole.passphrase` "
        "opens the keystore |"
    )
    yield "| `MESHCONSOLE_SECTION_KEY` | a configuration value: `MESHCONSOLE_LIMITS_MAX_STORAGE_MB=100` |"
    yield "| `NO_COLOR`, `TERM`, `COLORTERM`, `LC_ALL`, `LANG` | how the console draws |"
    yield ""
    yield "## Exit codes\n"
    yield "| code | meaning |"
    yield "|---|---|"
    for code, meaning in EXITS:
        yield f"| {code} | {meaning} |"


# --- everything that is written from the code -------------------------------------------------------


def written() -> dict[Path, str]:
    """Each file's place and content."""
    return {
        PLACE: reference(),
        ROOT / "docs" / "metrics.md": figures(),
        ROOT / "docs" / "keymap.md": keymap(),
        SHARE / "man/man1/meshconsole.1": manpage(),
        SHARE / "bash-completion/completions/meshconsole": shtab.complete(whole(), shell="bash"),
        SHARE / "zsh/site-functions/_meshconsole": shtab.complete(whole(), shell="zsh"),
    }


def main() -> int:
    for place, content in written().items():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
