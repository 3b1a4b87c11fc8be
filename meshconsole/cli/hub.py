"""What a command may do where SSH has started it for a member of a team hub: deploy/ssh/hub sets the mark.

Law: there nobody names a file or a program, because it would be opened or started with the rights of an
account on the hub, which is to have the node's console and no shell. The script has looked at the words;
here the arguments are looked at as they were understood. What is not listed is refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused

if TYPE_CHECKING:
    import argparse

HUB_VARIABLE = "MESHCONSOLE_AT_HUB"

COMMANDS = ("attach", "dial-stdio", "status", "peers", "events", "limits", "audit", "send", "team")

HARMLESS = frozenset(
    {
        *("run", "json", "follow", "limit", "filter"),
        *("theme", "glyphs", "colour", "no_mouse", "fps", "read_only"),
        *("to", "plain", "precedence", "text"),
        *("name", "root", "lifetime", "role", "address", "replaces", "person", "no_qr", "yes", "compare"),
        *("invite", "member", "rules", "act", "key", "what", "proposal"),
    }
)
"""Arguments, by argparse's names, of the commands above: numbers, names, texts, and what is yes or no."""

NO_PATHS = "At a hub only the node's own user adds, fetches and exports files."


def at_hub() -> bool:
    return HUB_VARIABLE in os.environ


def check_at_hub(command: str, parsed: argparse.Namespace) -> None:
    """Raises Refused."""
    if command not in COMMANDS:
        raise Refused("restricted", f"At this hub there is no '{command}'. There are: {', '.join(COMMANDS)}.")
    given = {name for name, value in vars(parsed).items() if value not in (None, False, "", [], ())}
    if others := sorted(given - HARMLESS):
        words = ", ".join(name.replace("_", "-") for name in others)
        raise Refused("restricted", f"'{command}' is not for use with {words} at this hub.")
