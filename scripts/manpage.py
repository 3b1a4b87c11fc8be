"""The man page, from the command line's own parsers (man(7), man-pages(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole import __version__
from meshconsole.cli.main import EXAMPLES
from scripts.cli_tree import leaves, options, places, value_name

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

EXITS = (
    ("0", "done"),
    ("1", "failed; the sentence says why"),
    ("2", "wrong usage or configuration"),
    ("3", "a node already runs in this home"),
    ("4", "a passphrase is needed and none was given"),
    ("5", "refused by a policy or limit"),
    ("69", "not available now, for example because no node runs"),
    ("70", "a bug of meshconsole; the sentence names the file with the details"),
    ("76", "the other side broke the protocol"),
    ("130", "interrupted"),
    ("141", "the reader of the output has left"),
)


def manpage() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield f'.TH MESHCONSOLE 1 "" "meshconsole {__version__}" "User Commands"'
    yield ".SH NAME\nmeshconsole \\- a terminal mesh console for teams who work together without internet"
    yield ".SH SYNOPSIS\n.B meshconsole\n[\\fB\\-\\-home\\fR \\fIFOLDER\\fR] [\\fICOMMAND\\fR ...]"
    yield ".SH DESCRIPTION"
    yield "One node on each device: a Nostr relay, an IPFS store for files, and a mesh peer. Notes and files"
    yield "are sealed for the team. Without a command: the console, or without a terminal a headless node."
    yield ".PP\nEvery command takes \\fB\\-\\-home\\fR \\fIFOLDER\\fR and \\fB\\-\\-help\\fR."
    yield ".SH COMMANDS"
    for leaf in leaves():
        yield f".SS {_text(' '.join(('meshconsole', *leaf.words, *places(leaf.parser))))}"
        yield _text(f"{leaf.summary[:1].upper()}{leaf.summary[1:]}.")
        for action in options(leaf.parser):
            yield from _option(action)
    yield ".SH ENVIRONMENT"
    for name, meaning in (
        ("MESHCONSOLE_HOME", "the node's home, if --home is not given"),
        ("MESHCONSOLE_SOCKET", "the socket of another user's node that lets this one attach"),
        ("MESHCONSOLE_PASSPHRASE", "opens the keystore, if --passphrase-file is not given"),
        ("NO_COLOR", "no colours"),
    ):
        yield f".TP\n.B {name}\n{_text(meaning)}"
    yield ".SH EXIT STATUS"
    for code, meaning in EXITS:
        yield f".TP\n.B {code}\n{_text(meaning)}"
    yield f".SH EXAMPLES\n.nf\n{_text(EXAMPLES)}\n.fi"


def _option(action: argparse.Action) -> Iterator[str]:
    if not action.help:
        return
    names = ", ".join(action.option_strings) or str(action.metavar or action.dest).upper()
    value = "" if action.nargs == 0 or not action.option_strings else f" \\fI{_text(value_name(action))}\\fR"
    yield f".TP\n\\fB{_text(names)}\\fR{value}\n{_text(action.help)}"


def _text(text: str) -> str:
    """As roff shows it: nothing in it is a request or an escape."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in escaped.split("\n"))
