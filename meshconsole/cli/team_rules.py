"""The team's rules, its plain clients, the invites that are out, and the acts of its root key."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, get_args

from meshconsole.cli.ask import ask, ask_for
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_facts, print_json, print_table, say
from meshconsole.cli.proposals import outcome
from meshconsole.cli.reading import node_status
from meshconsole.console.words import moment_in_words
from meshconsole.control.team import (
    AdmitClient,
    InvitesData,
    ListInvites,
    RemoveMember,
    RevokeInvite,
    SetPolicy,
)
from meshconsole.control.wire import ClientRole
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    import argparse

    from meshconsole.core.home import Home
    from meshconsole.core.status import ClientStatus, TeamStatus

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]


def configure(actions: Actions) -> tuple[argparse.ArgumentParser, ...]:
    """Adds the actions below `meshconsole team`; returns their parsers."""
    ruling = actions.add_parser("policy", help="show the team's rules, or set some for every node")
    ruling.add_argument("rules", nargs="*", metavar="RULE=VALUE", help="as rotate_days=14 plain_messages=off")
    ruling.set_defaults(run=policy)

    clients = actions.add_parser("client", help="plain Nostr keys that may use the team's relays")
    clients.add_argument("act", choices=("list", "add", "remove"))
    clients.add_argument("key", nargs="?", default="", help="npub1… or hex; to remove, the name will do")
    clients.add_argument("--name", default="", help="what teammates see (default: the key's beginning)")
    clients.add_argument("--role", choices=get_args(ClientRole), default="member", help="default: member")
    clients.set_defaults(run=client)

    listing = actions.add_parser("invites", help="invites of this device that may still be used")
    listing.set_defaults(run=invites)

    revoking = actions.add_parser("revoke", help="make an invite useless")
    revoking.add_argument("invite", help="its id, as 'team invites' shows it")
    revoking.set_defaults(run=revoke)

    rooting = actions.add_parser("root", help="act with the offline root key, which outranks every admin")
    rooting.add_argument("act", choices=("remove", "admin", "member", "policy"))
    rooting.add_argument("what", help="a member's name or the beginning of its key; for policy, RULE=VALUE")
    rooting.set_defaults(run=root)
    return ruling, clients, listing, revoking, rooting


def policy(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    rules = dict(_pair(text) for text in parsed.rules)
    if rules:
        reply = ask(home, SetPolicy(rules))
        say(reply.verdict.sentence)
    elif parsed.json:
        print_json(dict(_team(home).rules))
    else:
        print_facts(_team(home).rules)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name and value):
        raise Fatal(f"{text!r} is not a rule.", hint="Write it as RULE=VALUE.", exit_code=2)
    return name.strip(), value.strip()


def client(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.act == "list":
        _list_clients(home, as_json=parsed.json)
    elif not parsed.key:
        raise Fatal("Say which key.", hint=f"meshconsole team client {parsed.act} NPUB", exit_code=2)
    elif parsed.act == "add":
        name = parsed.name or parsed.key[:12]
        reply = ask(home, AdmitClient(parsed.key, name, parsed.role))
        say(outcome(reply, f"{name} may use the team's relays. Its traffic is not post-quantum."))
    else:
        found = _client(home, parsed.key)
        ask(home, RemoveMember(found.npub))
        say(f"{found.name} may not use the team's relays any more.")


def _list_clients(home: Home, *, as_json: bool) -> None:
    clients = _team(home).clients
    if as_json:
        print_json(clients)
    elif not clients:
        say("No plain Nostr client is admitted. Admit one: meshconsole team client add NPUB")
    else:
        rows = [(c.name, "read and publish" if c.writes else "read", c.npub) for c in clients]
        print_table(("name", "may", "key"), rows)


def _client(home: Home, who: str) -> ClientStatus:
    """Raises Fatal."""
    from meshconsole.crypto.schnorr import npub_to_bech32

    known = _team(home).clients
    keys = {c.npub: (c.npub, npub_to_bech32(c.npub)) for c in known}
    found = [c for c in known if who in (c.name, *keys[c.npub])]
    if len(found) == 1:
        return found[0]
    raise Fatal(f"{len(found) or 'No'} plain clients fit {who!r}.", hint="See: meshconsole team client list")


def invites(parsed: argparse.Namespace) -> None:
    out = ask_for(home_of(parsed.home), ListInvites(), InvitesData).invites
    if parsed.json:
        print_json(out)
    elif not out:
        say("This device has no open invite.")
    else:
        print_table(("id", "role", "until"), [(i.id, i.role, moment_in_words(i.expires)) for i in out])


def revoke(parsed: argparse.Namespace) -> None:
    if not 4 <= len(parsed.invite) <= 16:
        raise Fatal(
            f"{parsed.invite!r} is not the id of an invite.",
            hint="See: meshconsole team invites",
            exit_code=2,
        )
    say(ask(home_of(parsed.home), RevokeInvite(parsed.invite)).verdict.sentence)


def root(parsed: argparse.Namespace) -> None:
    from meshconsole.cli.members import member_named
    from meshconsole.cli.root_key import act, read_seed

    home = home_of(parsed.home)
    if parsed.act == "policy":
        what, words = parsed.what, parsed.what
        _pair(what)
    else:
        member = member_named(home, parsed.what)
        what, words = member.npub, f"{member.name} ({member.fingerprint})"
    if sys.stdin.isatty():
        say(f"With the root key: {parsed.act} {words}.")
    act(home, read_seed(), parsed.act, what)
    say("Done. Every node of the team applies this as soon as it hears of it.")


def _team(home: Home) -> TeamStatus:
    team = node_status(home).team
    if team is None:
        raise Fatal("This node has no team.", hint="Make one: meshconsole team create NAME")
    return team
