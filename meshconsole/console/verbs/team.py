"""The team: messages, invites, joining, roles. What cannot be undone is asked for by a typed name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, get_args

from meshconsole.console.screens.dialog import Ask, Choice, Choose
from meshconsole.console.screens.invite import InviteScreen
from meshconsole.console.verbs.registry import attempt, verb
from meshconsole.console.widgets.entryline import Question
from meshconsole.console.work import start
from meshconsole.control.members import find_member
from meshconsole.control.notes import SendDirect, SendPlain
from meshconsole.control.team import (
    AgreeToProposal,
    CreateTeam,
    Invite,
    InviteData,
    JoinTeam,
    RefuseProposal,
    RemoveMember,
    RotateKey,
    SetRole,
)
from meshconsole.control.wire import Role
from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.console.desk import Desk
    from meshconsole.core.status import MemberStatus

ROLE_HELP = {
    "admin": "may invite, remove and change roles",
    "member": "reads and writes",
    "observer": "reads only",
    "relay": "stores and passes on, but can open nothing",
}


@verb("note.direct")
def write_to_one(desk: Desk, words: str) -> None:
    who, _, text = words.strip().partition(" ")
    team = desk.model.status.team if desk.model.status else None
    if not text.strip():
        desk.say("Say to whom and what: :to WHO TEXT. The beginning of a key will do, too.", "warn")
        return
    try:
        member = find_member(team.members if team else (), who)
    except MeshconsoleError as error:
        desk.say(safe(str(error)), "bad")
        return

    async def send() -> None:
        await attempt(desk, SendDirect(member.npub, text.strip()), f"Sent to {safe(member.name, 24)}.")

    start(desk, send, "message")


@verb("note.plain")
def write_plain(desk: Desk, words: str) -> None:
    """The node says whose key it is not, and whether the team allows it."""
    who, _, text = words.strip().partition(" ")
    if not text.strip():
        desk.say("Say to which key and what: :plain NPUB TEXT. It is not post-quantum.", "warn")
        return

    async def send() -> None:
        await attempt(desk, SendPlain(who, text.strip()), "Sent, not post-quantum.")

    start(desk, send, "message")


@verb("team.invite")
async def invite(desk: Desk, _: str) -> None:
    if desk.hiding:
        key = desk.keymap.key("app.privacy")
        desk.say(f"An invite is not to be hidden and shown at once: {key} first.", "warn", private=False)
        return
    reply = await attempt(desk, Invite())
    if reply is not None and isinstance(reply.data, InviteData):
        desk.app.push_screen(InviteScreen(reply.data, desk.profile, desk.clock()))


@verb("team.join")
def join(desk: Desk, text: str) -> None:
    async def send(text: str) -> bool:
        desk.say("Joining.", "dim")
        return await attempt(desk, JoinTeam(text.strip()), "Joined.") is not None

    if text:
        start(desk, partial(send, text), "join")
    else:
        desk.ask(Question("invite", send, placeholder="the text below a teammate's QR code", enter="joins"))


@verb("team.create")
def create(desk: Desk, text: str) -> None:
    async def send(text: str) -> bool:
        name = text.strip()
        return bool(name) and await attempt(desk, CreateTeam(name), f"Created {name}.") is not None

    if text:
        start(desk, partial(send, text), "create")
    else:
        desk.ask(Question("name of the new team", send, enter="creates"))


@verb("team.role")
async def change_role(desk: Desk, _: str) -> None:
    member = _other_member(desk)
    if member is None:
        return
    name = desk.shown(member.name)
    choices = [Choice("", "leave it as it is", help=f"{name} is {safe(member.role, 12)}")]
    choices += [Choice(role, role, help=ROLE_HELP[role]) for role in get_args(Role) if role != member.role]
    role = await desk.app.push_screen_wait(Choose(f"Role of {name}", [], choices, desk.profile))
    for wanted in get_args(Role):
        if role == wanted:
            await attempt(desk, SetRole(member.npub, wanted), f"{name} is {wanted} now.")


@verb("team.remove")
async def remove(desk: Desk, _: str) -> None:
    member = _other_member(desk)
    if member is None:
        return
    name = desk.shown(member.name)
    typed = "remove" if desk.hiding else name
    sentences = [
        f"{name} will not be able to read anything that is written from now on. What it has read it keeps.",
        "This cannot be undone: the device would have to be invited again.",
        f"Type {typed} to do it." if desk.hiding else f"Type its name to remove it: {typed}",
    ]
    if await desk.app.push_screen_wait(Ask(f"Remove {name}?", sentences, must_be=typed)):
        await attempt(desk, RemoveMember(member.npub), f"{name} was removed and the key was turned.")


@verb("team.rotate")
async def rotate(desk: Desk, _: str) -> None:
    sentences = [
        "A new key for everything written from now on; every member gets it. Old notes stay readable."
    ]
    choices = [Choice("", "leave the key"), Choice("rotate", "turn the key", "r")]
    if await desk.app.push_screen_wait(Choose("Turn the team's key?", sentences, choices, desk.profile)):
        await attempt(desk, RotateKey(), "The key was turned.")


@verb("team.agree")
async def agree(desk: Desk, _: str) -> None:
    team = desk.model.status.team if desk.model.status else None
    waiting = team.proposals if team else ()
    if not waiting:
        desk.say("Nothing waits for a second admin.", "dim")
        return
    choices = [Choice("", "decide later")]
    for proposal in waiting:
        author = "you" if proposal.mine else desk.shown(proposal.author)
        words = desk.shown(proposal.words, 80)
        if not proposal.mine:
            choices.append(Choice(f"agree {proposal.id}", f"agree: {words}", help=author))
        choices.append(Choice(f"refuse {proposal.id}", f"refuse: {words}", help=author))
    sentences = ["Ask whoever proposes it, and compare fingerprints, before you agree."]
    answer = await desk.app.push_screen_wait(
        Choose("A second admin must agree", sentences, choices, desk.profile)
    )
    act, _, chosen = (answer or "").partition(" ")
    if act == "agree":
        await attempt(desk, AgreeToProposal(chosen), "Agreed.")
    elif act == "refuse":
        await attempt(desk, RefuseProposal(chosen), "Refused.")


def _other_member(desk: Desk) -> MemberStatus | None:
    member = desk.team.listing.current()
    if member is None:
        desk.say("There is no member here.", "warn")
    elif member.me:
        desk.say("That is this device.", "warn")
        return None
    return member
