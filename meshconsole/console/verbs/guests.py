"""Guests: browsers that ask to be let in, and those that were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.screens.dialog import Choice, Choose
from meshconsole.console.verbs.registry import attempt, verb
from meshconsole.console.words import moment_in_words
from meshconsole.control.guests import AdmitGuest, RefuseGuest, RemoveGuest
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.console.desk import Desk
    from meshconsole.core.status import GuestStatus


@verb("guest.admit")
async def guests(desk: Desk, code: str) -> None:
    if code:
        await attempt(desk, AdmitGuest(code))
        return
    known = desk.model.status.guests if desk.model.status else ()
    if not known:
        desk.say("There are no guests. A link for one: meshconsole guest open", "dim")
        return
    choices = [Choice("", "decide later"), *(choice for guest in known for choice in _choices(guest))]
    sentences = ["A guest is no member. Let a browser in only if it shows the same code."]
    answer = await desk.app.push_screen_wait(Choose("Guests", sentences, choices, desk.profile))
    act, _, which = (answer or "").partition(" ")
    if act == "admit":
        await attempt(desk, AdmitGuest(which))
    elif act == "refuse":
        await attempt(desk, RefuseGuest(which))
    elif act == "remove":
        await attempt(desk, RemoveGuest(which))


def _choices(guest: GuestStatus) -> list[Choice]:
    name = safe(guest.name, 32)
    if guest.state != "waiting":
        until = f"{guest.state}, until {moment_in_words(guest.until)}" if guest.until else guest.state
        return [Choice(f"remove {guest.npub}", f"send away {name}", help=until)]
    code = f"{guest.code[:3]} {guest.code[3:]}"
    return [
        Choice(f"admit {guest.code}", f"let in {code}", help=name),
        Choice(f"refuse {guest.code}", f"refuse {code}", help=name),
    ]
