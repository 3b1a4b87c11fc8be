"""Whom and what the relay lets in or keeps out: the lists that NIP-86 manages, at the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from meshconsole.cli.ask import ask_for
from meshconsole.cli.filters import key_of
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.control.relay import ChangeRelayLists, ListsData, ShowRelayLists
from meshconsole.core.errors import Fatal
from meshconsole.core.text import safe

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

ACTS = {
    ("ban", "key"): "banpubkey",
    ("ban", "event"): "banevent",
    ("ban", "kind"): "disallowkind",
    ("ban", "address"): "blockip",
    ("unban", "key"): "unbanpubkey",
    ("unban", "event"): "unbanevent",
    ("unban", "kind"): "allowkind",
    ("unban", "address"): "unblockip",
    ("allow", "key"): "allowpubkey",
    ("allow", "event"): "allowevent",
    ("allow", "kind"): "allowkind",
    ("unallow", "key"): "unallowpubkey",
    ("unallow", "event"): "unallowevent",
}
HELP = {
    "ban": "keep out a key, an event (which is removed), a kind, or an IP address",
    "unban": "take that back",
    "allow": "let in a key or an event whatever the rules say; a kind: that one and no others",
    "unallow": "take that back",
}


def add(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    listing = actions.add_parser("lists", help="who and what is banned or allowed beside the roster")
    listing.set_defaults(run=show)
    for verb, words in HELP.items():
        acting = actions.add_parser(verb, help=words)
        acting.set_defaults(run=change, verb=verb)
        sorts = [sort for named, sort in ACTS if named == verb]
        acting.add_argument("sort", choices=sorts, help=", ".join(sorts))
        acting.add_argument("subject", metavar="WHICH", help="npub1… or hex, an id, a number, an IP address")
        if verb in ("ban", "allow"):
            acting.add_argument("--reason", default="", help="for those who read the list")


def show(parsed: argparse.Namespace) -> None:
    _tell(parsed, ask_for(home_of(parsed.home), ShowRelayLists(), ListsData))


def change(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    subject = key_of(parsed.subject) if parsed.sort == "key" else parsed.subject
    if parsed.verb == "unban" and parsed.sort == "kind":
        # NIP-86 has one act for both: of a kind that is not banned, it would begin a list of allowed ones.
        banned = map(str, ask_for(home, ShowRelayLists(), ListsData).disallowed_kinds)
        if subject not in banned:
            raise Fatal(f"Kind {subject} is not banned.", hint="See 'meshconsole relay lists'.")
    act = cast("Literal['banpubkey']", ACTS[parsed.verb, parsed.sort])
    wanted = ChangeRelayLists(act, subject, getattr(parsed, "reason", ""))
    _tell(parsed, ask_for(home, wanted, ListsData))


def _tell(parsed: argparse.Namespace, lists: ListsData) -> None:
    if parsed.json:
        print_json(lists)
        return
    rows = list(_rows(lists))
    if rows:
        print_table(("is", "what", "which", "reason"), rows)
    else:
        say("Nothing is banned or allowed beside the roster and the settings.")


def _rows(lists: ListsData) -> Iterator[tuple[str, str, str, str]]:
    for word, sort, entries in (
        ("banned", "key", lists.banned_keys),
        ("allowed", "key", lists.allowed_keys),
        ("banned", "event", lists.banned_events),
        ("allowed", "event", lists.allowed_events),
        ("banned", "address", lists.blocked_addresses),
    ):
        for which, reason in entries.items():
            yield word, sort, which, safe(reason)
    for word, kinds in (("banned", lists.disallowed_kinds), ("allowed", lists.allowed_kinds)):
        for kind in kinds:
            yield word, "kind", str(kind), ""
