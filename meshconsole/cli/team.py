"""The team: create, invite, join, members, role, remove, rotate. Always through the running node."""

from __future__ import annotations

import re
import sys
from argparse import SUPPRESS
from typing import TYPE_CHECKING, get_args

from meshconsole.cli import fingerprint, proposals, team_rules
from meshconsole.cli.ask import ask, ask_for
from meshconsole.cli.following import Row, add_follow, follow_status
from meshconsole.cli.home import home_of
from meshconsole.cli.members import member_named
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.cli.proposals import outcome
from meshconsole.cli.reading import node_status
from meshconsole.console.words import duration_in_words, moment_in_words
from meshconsole.control.team import (
    CreateTeam,
    Invite,
    InviteData,
    JoinTeam,
    RemoveMember,
    RotateKey,
    SetRole,
)
from meshconsole.control.wire import Role
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meshconsole.core.status import ClientStatus, MemberStatus, NodeStatus

SECONDS = {"m": 60, "h": 3600, "d": 86_400}
MAX_INVITE_CHARS = 1024


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=members)
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    add_follow(parser)
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: members)")

    listing = actions.add_parser("members", help="who is in the team, with fingerprints to compare")
    add_follow(listing, below=True)
    listing.set_defaults(run=members)

    creating = actions.add_parser("create", help="found a team with this node as its first admin")
    creating.add_argument("name")
    creating.add_argument(
        "--root", action="store_true", help="make an offline root key as well; it is printed once"
    )
    creating.set_defaults(run=create)

    inviting = actions.add_parser("invite", help="print an invite for one more device, and its QR code")
    inviting.add_argument(
        "--for", dest="lifetime", default="1h", metavar="TIME", help="valid for, as 30m, 1h, 7d"
    )
    inviting.add_argument(
        "--role", default="member", choices=get_args(Role), help="what the device may do (default: member)"
    )
    inviting.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="where to reach this node (repeatable)",
    )
    inviting.add_argument(
        "--replaces",
        default="",
        metavar="MEMBER",
        help="for the owner of a lost device: the new one takes its name and role, the lost one is removed",
    )
    inviting.add_argument(
        "--person",
        default="",
        metavar="MEMBER",
        help="for another device of the person who has MEMBER: the two are never two admins who agree",
    )
    inviting.add_argument("--no-qr", action="store_true", help="the text only")
    inviting.set_defaults(run=invite)

    joining = actions.add_parser(
        "join", help="join a team with an invite; takes up to 90 s where devices are slow"
    )
    joining.add_argument(
        "invite", nargs="?", default="-", help="the invite's text; - or nothing reads it from input"
    )
    joining.set_defaults(run=join)

    changing = actions.add_parser("role", help="give a member another role")
    changing.add_argument("member", help="name, or the beginning of the key")
    changing.add_argument("role", choices=get_args(Role))
    changing.set_defaults(run=role)

    removing = actions.add_parser("remove", help="remove a device and turn the team's key")
    removing.add_argument("member", help="name, or the beginning of the key")
    removing.add_argument("--yes", action="store_true", help="do not ask")
    removing.set_defaults(run=remove)

    rotating = actions.add_parser("rotate", help="turn the team's key")
    rotating.set_defaults(run=rotate)

    comparing = actions.add_parser("fingerprint", help="a device's keys, to compare by voice or by QR code")
    fingerprint.configure(comparing)

    more = (*team_rules.configure(actions), *proposals.configure(actions))
    for action in (listing, creating, inviting, joining, changing, removing, rotating, comparing, *more):
        # SUPPRESS: what stands before the action must survive the action's own default.
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.add_argument("--home", default=SUPPRESS, help=SUPPRESS)


def members(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.follow:
        follow_status(home, as_json=parsed.json, rows=_rows, value=_everybody)
        return
    team = node_status(home).team
    if parsed.json:
        print_json(team.members if team else ())
    elif team is None:
        say("This node has no team. Make one with 'team create NAME', or join with 'team join INVITE'.")
    else:
        say(f"{team.name}, epoch {team.epoch}, {team.suite}")
        print_table(("name", "role", "key", "fingerprint"), [_member_row(member) for member in team.members])
        if team.clients:
            say("\nPlain Nostr clients at the team's relays (not post-quantum):")
            print_table(("name", "may", "key"), [_client_row(client) for client in team.clients])
        if team.proposals:
            say(f"\n{len(team.proposals)} waiting for a second admin: meshconsole team proposals")
        if team.rotation_owed:
            say("\nA new team key is owed: an admin's device turns it, or 'meshconsole team rotate'.")


def _everybody(now: NodeStatus) -> tuple[MemberStatus, ...]:
    return now.team.members if now.team else ()


def _rows(now: NodeStatus) -> Iterator[Row]:
    team = now.team
    if team is None:
        yield Row("team", ("This node has no team.",), None)
        return
    yield Row("team", (f"{team.name}, epoch {team.epoch}, {team.suite}",), team.epoch)
    for member in team.members:
        cells = _member_row(member)
        yield Row(member.npub, cells, cells)
    for client in team.clients:
        cells = ("plain client", *_client_row(client))
        yield Row(f"client {client.npub}", cells, cells)
    for proposal in team.proposals:
        yield Row(proposal.id, (f"waits for a second admin: {proposal.words}, says {proposal.author}",), None)
    if team.rotation_owed:
        yield Row("owed", ("a new team key is owed",), None)


def _member_row(member: MemberStatus) -> tuple[str, ...]:
    name = f"{member.name} (this node)" if member.me else member.name
    return name, member.role, member.npub[:16], member.fingerprint


def _client_row(client: ClientStatus) -> tuple[str, ...]:
    return client.name, "read and publish" if client.writes else "read", client.npub[:16]


def create(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if not parsed.root:
        say(ask(home, CreateTeam(parsed.name)).verdict.sentence or f"Team {parsed.name} exists now.")
        return
    from meshconsole.cli.root_key import explain, fresh
    from meshconsole.crypto.suites import SUITES

    suite = node_status(home).suite
    seed, bundle = fresh(next(known for known in SUITES if known.name == suite))
    say(ask(home, CreateTeam(parsed.name, bundle)).verdict.sentence or f"Team {parsed.name} exists now.")
    explain(seed)


def invite(parsed: argparse.Namespace) -> None:
    home, role, replaces = home_of(parsed.home), parsed.role, ""
    if parsed.replaces:
        lost = member_named(home, parsed.replaces)
        role, replaces = lost.role, lost.npub
    person = member_named(home, parsed.person).npub if parsed.person else ""
    if person and replaces:
        raise Fatal("A device that replaces another one is that person's already.", exit_code=2)
    command = Invite(tuple(parsed.address), _seconds(parsed.lifetime), role, replaces, person)
    made = ask_for(home, command, InviteData)
    if parsed.json:
        print_json(made)
        return
    if not parsed.no_qr:
        from meshconsole.cli.qr import qr_lines

        print("\n".join(qr_lines(made.text)), end="\n\n")
    say(made.text)
    if sys.stdout.isatty():
        say(
            f"\nFor one device, until {moment_in_words(made.expires)}. Whoever has this text can join: "
            "pass it on as carefully as a key.\nOn the other device: meshconsole team join INVITE"
        )
        say(f"It reaches this node at {', '.join(made.addresses)}.")


def _seconds(text: str) -> int:
    """ "30m" -> 1800. Raises Fatal."""
    unit = SECONDS.get(text[-1:].lower())
    if unit is None or not re.fullmatch(r"[0-9]{1,9}", text[:-1]):
        raise Fatal(f"{text!r} is not a time.", hint="Write it as 30m, 1h or 7d.", exit_code=2)
    seconds = int(text[:-1]) * unit
    if not 60 <= seconds <= 30 * 86_400:
        raise Fatal(
            f"An invite can be valid from 1m to 30d, not for {duration_in_words(seconds)}.", exit_code=2
        )
    return seconds


def join(parsed: argparse.Namespace) -> None:
    text = parsed.invite
    if text == "-":
        if sys.stdin.isatty():
            print("Invite: ", end="", file=sys.stderr, flush=True)
        text = sys.stdin.readline(MAX_INVITE_CHARS)
    reply = ask(home_of(parsed.home), JoinTeam(text.strip()))
    say(reply.verdict.sentence or "Joined.")


def role(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    member = member_named(home, parsed.member)
    say(outcome(ask(home, SetRole(member.npub, parsed.role)), f"{member.name} is {parsed.role} now."))


def remove(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    member = member_named(home, parsed.member)
    if not parsed.yes:
        _confirm(member)
    say(ask(home, RemoveMember(member.npub)).verdict.sentence or f"{member.name} is removed.")


def rotate(parsed: argparse.Namespace) -> None:
    say(ask(home_of(parsed.home), RotateKey()).verdict.sentence or "The team's key was turned.")


def _confirm(member: MemberStatus) -> None:
    if not sys.stdin.isatty():
        raise Fatal("Removing a member cannot be undone.", hint="Add --yes if that is what you want.")
    say(f"{member.name} ({member.fingerprint}) will lose access to everything new. This cannot be undone.")
    if input("Type the name to go on: ").strip() != member.name:
        raise Fatal("Nothing was changed: that is not the name.")
