"""The team's offline root key: made here, shown once, never given to a node.

Its acts are signed in this process and handed to the node as events; the key itself stays with the
person who types it.
"""

from __future__ import annotations

import getpass
import sys
import time
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, ask_for
from meshconsole.control.messages import CountsData
from meshconsole.control.relay import ImportLines
from meshconsole.control.team import ListRoster, RosterData
from meshconsole.core.errors import Fatal, Refused
from meshconsole.core.event import decode_event, encode_event
from meshconsole.crypto import bech32
from meshconsole.crypto.identity import SEED_LEN, Identity
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.suites import MC1
from meshconsole.team.entries import read_entry
from meshconsole.team.rules import read_policy
from meshconsole.team.state import Team

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.core.home import Home
    from meshconsole.crypto.suites import Suite

PREFIX = "mcroot"


def fresh(suite: Suite) -> tuple[str, bytes]:
    """The key as text, and its bundle event for the genesis. `suite` is the team's."""
    me = Identity.generate(suite, default_provider())
    return bech32.encode(PREFIX, me.seed), encode_event(me.bundle_event(int(time.time())))


def explain(seed: str) -> None:
    print(seed)
    print(
        "This is the team's root key. It can undo what a captured admin did. Write it on paper now, keep it\n"
        "apart from every device, and clear this screen: it is not stored anywhere and not shown again.",
        file=sys.stderr,
    )


def read_seed() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Root key: ")
    return sys.stdin.readline(256).strip()


def act(home: Home, seed: str, what: str, whom: str) -> None:
    """Signs and hands in. `whom` is a key, or RULE=VALUE for a rule. Raises Fatal for a key that is not this
    team's, Refused for an act that the roster does not allow."""
    roster = ask_for(home, ListRoster(), RosterData)
    events = [decode_event(raw) for raw in roster.events]
    team = _team_as(seed, events, bytes.fromhex(roster.team_id))
    made = _made(team, what, whom)
    answer = ask(home, ImportLines(tuple(encode_event(event) for event in made)))
    if isinstance(answer.data, CountsData) and answer.data.counts.get("refused"):
        raise Fatal(
            "The node refused what the root key signed.", hint="Look at the node's log: meshconsole events"
        )


def _team_as(seed: str, events: list[Event], team_id: bytes) -> Team:
    provider = default_provider()
    suite = next((read_entry(event)[1] for event in events if _is_genesis(event)), MC1)
    try:
        prefix, secret = bech32.decode(seed.strip())
    except Refused as error:
        raise Fatal(f"That is not a root key: {error.sentence}") from None
    if prefix != PREFIX or len(secret) != SEED_LEN:
        raise Fatal("That is not a root key.", hint=f"It begins with {PREFIX}1.")
    team = Team.load(Identity(secret, suite, provider), events, provider, team_id)
    if team is None or team.my_role != "root":
        raise Fatal("That is the root key of another team.")
    return team


def _is_genesis(event: Event) -> bool:
    try:
        return not read_entry(event)[0].parents
    except Refused:
        return False


def _made(team: Team, what: str, whom: str) -> list[Event]:
    now = int(time.time())
    if what == "remove":
        return team.remove(whom, now)
    if what == "policy":
        name, _, value = whom.partition("=")
        return team.set_policy(read_policy({name.strip(): value.strip()}), now)
    return team.set_role(whom, "admin" if what == "admin" else "member", now)
