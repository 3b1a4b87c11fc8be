"""The HTTP edge: where it is, who has a token for it, and what they have pinned."""

from __future__ import annotations

import re
from argparse import SUPPRESS
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, ask_for
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_facts, print_json, print_table, say
from meshconsole.console.words import moment_in_words, size_in_words
from meshconsole.control.edge import (
    EdgeData,
    ListPins,
    MakeToken,
    PinsData,
    RevokeToken,
    ShowEdge,
    TokenData,
)
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator


def configure(_command: str, parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=show)
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: show)")
    showing = actions.add_parser("show", help="where it is, what it serves, who has a token")
    making = actions.add_parser("token", help="make a token for a program that pins here; it is shown once")
    making.add_argument("name", help="letters, digits, . _ and -; pins carry it")
    revoking = actions.add_parser("revoke", help="a token is good for nothing any more")
    revoking.add_argument("name")
    revoking.add_argument("--unpin", action="store_true", help="and what it has pinned may go")
    listing = actions.add_parser("pins", help="what was asked for over the pinning service")
    runs = {showing: show, making: make, revoking: revoke, listing: pins}
    for action, run in runs.items():
        action.set_defaults(run=run)
        # SUPPRESS: what stands before the action must survive the action's own default.
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.add_argument("--home", default=SUPPRESS, help=SUPPRESS)


def show(parsed: argparse.Namespace) -> None:
    data = ask_for(home_of(parsed.home), ShowEdge(), EdgeData)
    if parsed.json:
        print_json(data)
        return
    print_facts(_facts(data))
    if data.tokens:
        say("")
        rows = [
            (
                token.name,
                moment_in_words(token.made),
                moment_in_words(token.used) if token.used is not None else "never",
                str(token.pins),
            )
            for token in data.tokens
        ]
        print_table(("token", "made", "used", "pins"), rows, right=frozenset({3}))


def make(parsed: argparse.Namespace) -> None:
    if re.fullmatch(r"[0-9A-Za-z._-]{1,32}", parsed.name) is None:
        raise Fatal("A token's name has 1 to 32 letters, digits, dots, _ and -.", exit_code=2)
    home = home_of(parsed.home)
    made = ask_for(home, MakeToken(parsed.name), TokenData)
    if parsed.json:
        print_json(made)
        return
    say(made.token)
    edge = ask_for(home, ShowEdge(), EdgeData).edge
    url = f"http://{edge.address}" if edge is not None else "URL"
    say("")
    say("It is not shown again. With Kubo:")
    say(f"ipfs pin remote service add {parsed.name} {url} {made.token}")


def revoke(parsed: argparse.Namespace) -> None:
    reply = ask(home_of(parsed.home), RevokeToken(parsed.name, parsed.unpin))
    say(reply.verdict.sentence)


def pins(parsed: argparse.Namespace) -> None:
    found = ask_for(home_of(parsed.home), ListPins(), PinsData).pins
    if parsed.json:
        print_json(found)
    elif not found:
        say("Nothing was asked for yet.")
    else:
        rows = [
            (
                moment_in_words(pin.made),
                pin.token,
                pin.name or "-",
                f"failed: {pin.error}" if pin.error else pin.status,
                pin.cid,
            )
            for pin in found
        ]
        print_table(("asked", "token", "name", "status", "cid"), rows)


def _facts(data: EdgeData) -> Iterator[tuple[str, str]]:
    edge = data.edge
    if edge is None:
        yield "HTTP edge", "off; turn it on: meshconsole config set edge.listen=127.0.0.1:7480"
        return
    yield "HTTP edge", f"http://{edge.address}, {edge.connections} connections"
    for part in edge.parts:
        yield part.name, f"{part.requests} requests" if part.on else "off"
    yield "blobs", f"{data.blobs} of Nostr clients, {size_in_words(data.blob_bytes)}"
