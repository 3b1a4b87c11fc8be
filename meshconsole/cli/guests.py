"""Guests: open a link for a browser, see who waits, let them in, say something, send them away."""

from __future__ import annotations

import re
from argparse import SUPPRESS
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, ask_for
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.console.words import duration_in_words, moment_in_words
from meshconsole.control.guests import (
    AdmitGuest,
    GuestLinkData,
    GuestsData,
    ListGuests,
    OpenGuestLink,
    RefuseGuest,
    RemoveGuest,
    SayToGuests,
)
from meshconsole.control.messages import EventsData
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    import argparse

    from meshconsole.core.status import GuestStatus

HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0}
SHORTEST_H, LONGEST_H = 0.1, 720.0


def configure(_command: str, parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=listing)
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    actions = parser.add_subparsers(metavar="ACTION", title="actions (default: list)")

    opening = actions.add_parser("open", help="print a link for one browser on this machine")
    opening.add_argument("--name", default="", help="what the guest is called (default: what they say)")
    _add_stay(opening)
    opening.add_argument(
        "--link-minutes", type=int, default=10, metavar="N", help="the link is valid for so long"
    )
    opening.add_argument("--qr", action="store_true", help="the link as a QR code too")
    opening.set_defaults(run=open_link)

    showing = actions.add_parser("list", help="who waits to be let in, and who is a guest, until when")
    showing.set_defaults(run=listing)

    admitting = actions.add_parser("admit", help="let the browser in that shows this code")
    admitting.add_argument("code", nargs="+", help="the digits on its page")
    admitting.add_argument("--name", default="", help="what the guest is called")
    _add_stay(admitting)
    admitting.set_defaults(run=admit)

    refusing = actions.add_parser("refuse", help="send the browser away that shows this code")
    refusing.add_argument("code", nargs="+", help="the digits on its page")
    refusing.set_defaults(run=refuse)

    removing = actions.add_parser("remove", help="end a guest's stay at once")
    removing.add_argument("guest", help="name, or the beginning of the key")
    removing.set_defaults(run=remove)

    saying = actions.add_parser("say", help="a note to the guests; it is not sealed")
    saying.add_argument("text", nargs="+")
    saying.set_defaults(run=say_to_guests)

    for action in (opening, showing, admitting, refusing, removing, saying):
        # SUPPRESS: what stands before the action must survive the action's own default.
        action.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
        action.add_argument("--home", default=SUPPRESS, help=SUPPRESS)


def _add_stay(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--for", dest="stay", default="", metavar="TIME", help="how long they may stay, as 30m, 8h, 2d"
    )


def open_link(parsed: argparse.Namespace) -> None:
    if not 1 <= parsed.link_minutes <= 1440:
        raise Fatal("A link is valid for 1 to 1440 minutes.", exit_code=2)
    command = OpenGuestLink(parsed.name, _hours(parsed.stay), parsed.link_minutes * 60)
    made = ask_for(home_of(parsed.home), command, GuestLinkData)
    if parsed.json:
        print_json(made)
        return
    if parsed.qr:
        from meshconsole.cli.qr import qr_lines

        print("\n".join(qr_lines(made.url)), end="\n\n")
    say(made.url)
    say(
        f"\nFor one browser on this machine, until {moment_in_words(made.until)}. The page shows a code:\n"
        "compare it, then let that browser in: meshconsole guest admit CODE\n"
        "From another machine: ssh -L PORT:127.0.0.1:PORT to this one, with the link's port."
    )


def listing(parsed: argparse.Namespace) -> None:
    guests = ask_for(home_of(parsed.home), ListGuests(), GuestsData).guests
    if parsed.json:
        print_json(guests)
    elif not guests:
        say("There are no guests. Invite one: meshconsole guest open")
    else:
        print_table(("name", "state", "code", "since", "until", "notes", "key"), map(_row, guests))


def _row(guest: GuestStatus) -> tuple[str, ...]:
    return (
        guest.name,
        "waits for your yes" if guest.state == "waiting" else guest.state,
        f"{guest.code[:3]} {guest.code[3:]}" if guest.code else "-",
        moment_in_words(guest.since),
        moment_in_words(guest.until) if guest.until is not None else "-",
        str(guest.events),
        guest.npub[:16],
    )


def admit(parsed: argparse.Namespace) -> None:
    reply = ask(home_of(parsed.home), AdmitGuest("".join(parsed.code), parsed.name, _hours(parsed.stay)))
    if parsed.json:
        print_json(reply.data.guests if isinstance(reply.data, GuestsData) else ())
    else:
        say(reply.verdict.sentence)


def refuse(parsed: argparse.Namespace) -> None:
    say(ask(home_of(parsed.home), RefuseGuest("".join(parsed.code))).verdict.sentence)


def remove(parsed: argparse.Namespace) -> None:
    say(ask(home_of(parsed.home), RemoveGuest(parsed.guest)).verdict.sentence)


def say_to_guests(parsed: argparse.Namespace) -> None:
    reply = ask(home_of(parsed.home), SayToGuests(" ".join(parsed.text)))
    if parsed.json:
        print_json(reply.data.events if isinstance(reply.data, EventsData) else ())
    else:
        say(reply.verdict.sentence)


def _hours(text: str) -> float | None:
    """ "30m" -> 0.5; "" -> None. Raises Fatal."""
    if not text:
        return None
    unit = HOURS.get(text[-1:].lower())
    if unit is None or not re.fullmatch(r"[0-9]{1,6}", text[:-1]):
        raise Fatal(f"{text!r} is not a time.", hint="Write it as 30m, 8h or 2d.", exit_code=2)
    hours = int(text[:-1]) * unit
    if not SHORTEST_H <= hours <= LONGEST_H:
        raise Fatal(
            f"A guest may stay from 6m to 30d, not for {duration_in_words(hours * 3600)}.", exit_code=2
        )
    return hours
