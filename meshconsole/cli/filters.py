"""Filters as they are typed: NIP-01's JSON, or a few flags that are joined to it."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from meshconsole.core.errors import Fatal, MeshconsoleError

if TYPE_CHECKING:
    import argparse

_SPAN = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("filter", nargs="?", default="", metavar="FILTER", help="a NIP-01 filter as JSON")
    parser.add_argument("--kind", type=int, action="append", metavar="N", help="of this kind (repeatable)")
    parser.add_argument("--author", action="append", metavar="KEY", help="npub1… or hex (repeatable)")
    parser.add_argument("--id", action="append", metavar="ID", help="this event (repeatable)")
    parser.add_argument("--tag", action="append", metavar="L=VALUE", help="with this tag (repeatable)")
    parser.add_argument("--since", metavar="WHEN", help="7d ago, 2026-03-04, or seconds since 1970")
    parser.add_argument("--until", metavar="WHEN", help="the same")


def read(parsed: argparse.Namespace) -> str:
    """The filter as JSON, "" when nothing was given. Raises Fatal."""
    wanted = _decode(parsed.filter) if parsed.filter else {}
    for name, values in (
        ("kinds", parsed.kind),
        ("authors", [key_of(author) for author in parsed.author or ()]),
        ("ids", parsed.id),
    ):
        if values:
            wanted[name] = [*wanted.get(name, ()), *values]
    for tag in parsed.tag or ():
        letter, _, value = tag.partition("=")
        wanted.setdefault(f"#{letter}", []).append(value)
    for name, when in (("since", parsed.since), ("until", parsed.until)):
        if when is not None:
            wanted[name] = _moment(when)
    return json.dumps(wanted, separators=(",", ":")) if wanted or parsed.filter else ""


def _decode(text: str) -> dict[str, Any]:
    try:
        wanted = json.loads(text)
    except (ValueError, RecursionError):
        wanted = None
    if not isinstance(wanted, dict):
        raise Fatal(
            f"{text} is not a filter.", hint='Write JSON as {"kinds":[1]}, or use --kind 1.', exit_code=2
        )
    return wanted


def key_of(text: str) -> str:
    """A public key in hex, from npub1… or hex. Raises Fatal."""
    if not text.startswith("npub1"):
        return text.lower()
    from meshconsole.crypto import bech32

    try:
        prefix, data = bech32.decode(text)
    except (MeshconsoleError, ValueError) as error:
        raise Fatal(f"{text} is not a public key: {error}", exit_code=2) from error
    if prefix != "npub" or len(data) != 32:
        raise Fatal(f"{text} is not a public key.", exit_code=2)
    return data.hex()


def _moment(text: str) -> int:
    if span := _SPAN.fullmatch(text):
        return int(time.time()) - int(span[1]) * _SECONDS[span[2]]
    if text.isascii() and text.isdecimal():
        return int(text)
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError:
        raise Fatal(
            f"{text} is no time.", hint="Write 7d, 12h, 2026-03-04 (UTC) or seconds since 1970.", exit_code=2
        ) from None
