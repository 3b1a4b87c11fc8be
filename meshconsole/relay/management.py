"""NIP-86: what an admin may ask of the relay over HTTP. Pure.

A call is judged and worked out here; the shell has checked who calls, saves the new lists before it
answers, and writes the act to the audit log. Methods that change the team are not offered: its roster
takes nothing less than a device's two signatures, and a request here carries one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.relay import lists as acts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from meshconsole.relay.lists import Lists

MEDIA_TYPE = "application/nostr+json+rpc"

Params = list[object]


class Call(msgspec.Struct, frozen=True):
    method: str
    params: list[object] = []


class Outcome(NamedTuple):
    """`lists` differ from those before if the call changed anything."""

    result: object
    lists: Lists


def read_call(body: bytes) -> Call:
    """Raises Refused("invalid")."""
    try:
        return msgspec.json.decode(body, type=Call)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Refused("invalid", "a call is a JSON object with a method and a list of params") from None


def answer(result: object) -> bytes:
    return msgspec.json.encode({"result": result})


def failure(sentence: str) -> bytes:
    return msgspec.json.encode({"result": None, "error": sentence})


def carry_out(call: Call, lists: Lists, reported: Mapping[str, str]) -> Outcome:
    """`reported` are ids of events that somebody complained of, with the reason. Raises Refused."""
    if call.method == "supportedmethods":
        return Outcome(METHODS, lists)
    if call.method == "listeventsneedingmoderation":
        judged = {**lists.banned_events, **lists.allowed_events}
        return Outcome(_listed("id", {i: why for i, why in reported.items() if i not in judged}), lists)
    if call.method in _QUESTIONS:
        return Outcome(_QUESTIONS[call.method](lists), lists)
    if call.method in _ACTS:
        return Outcome(True, _ACTS[call.method](lists, call.params))
    if call.method in _ROSTER:
        raise Refused("restricted", "roles are the team's: change them on an admin's own device")
    raise Refused("unsupported", "this method is not offered here")


def changes(method: str) -> bool:
    """Whether a call of this method is an act, for the audit log."""
    return method in _ACTS


def subject(call: Call) -> str:
    """What the act was about: for the audit log."""
    return str(call.params[0])[:128] if call.params else ""


def _named(act: Callable[[Lists, str, str], Lists]) -> Callable[[Lists, Params], Lists]:
    """An act with something to list and perhaps a reason."""
    return lambda lists, params: act(lists, _text(params, 0), _text(params, 1, default=""))


def _bare(act: Callable[[Lists, str], Lists]) -> Callable[[Lists, Params], Lists]:
    return lambda lists, params: act(lists, _text(params, 0))


def _numbered(act: Callable[[Lists, int], Lists]) -> Callable[[Lists, Params], Lists]:
    def with_kind(lists: Lists, params: Params) -> Lists:
        if not params or type(params[0]) is not int:
            raise Refused("invalid", "the first of the params must be a number")
        return act(lists, params[0])

    return with_kind


def _text(params: Params, place: int, default: str | None = None) -> str:
    value = params[place] if place < len(params) else default
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise Refused("invalid", f"number {place + 1} of the params must be a text")
    return value


def _listed(name: str, entries: Mapping[str, str]) -> list[dict[str, str]]:
    return [{name: entry, **({"reason": reason} if reason else {})} for entry, reason in entries.items()]


_ACTS: dict[str, Callable[[Lists, Params], Lists]] = {
    "banpubkey": _named(acts.ban_key),
    "unbanpubkey": _bare(acts.unban_key),
    "allowpubkey": _named(acts.allow_key),
    "unallowpubkey": _bare(acts.unallow_key),
    "banevent": _named(acts.ban_event),
    "unbanevent": _bare(acts.unban_event),
    "allowevent": _named(acts.allow_event),
    "unallowevent": _bare(acts.unallow_event),
    "allowkind": _numbered(acts.allow_kind),
    "disallowkind": _numbered(acts.disallow_kind),
    "blockip": _named(acts.block_ip),
    "unblockip": _bare(acts.unblock_ip),
    "changerelayname": _bare(acts.rename),
    "changerelaydescription": _bare(acts.describe),
    "changerelayicon": _bare(acts.set_icon),
}

_QUESTIONS: dict[str, Callable[[Lists], object]] = {
    "listbannedpubkeys": lambda lists: _listed("pubkey", lists.banned_keys),
    "listallowedpubkeys": lambda lists: _listed("pubkey", lists.allowed_keys),
    "listbannedevents": lambda lists: _listed("id", lists.banned_events),
    "listallowedevents": lambda lists: _listed("id", lists.allowed_events),
    "listallowedkinds": lambda lists: sorted(lists.allowed_kinds),
    "listdisallowedkinds": lambda lists: sorted(lists.disallowed_kinds),
    "listblockedips": lambda lists: _listed("ip", lists.blocked_ips),
}

_ROSTER = frozenset({"createrole", "editrole", "deleterole", "assignrole", "unassignrole"})

METHODS = sorted([*_ACTS, *_QUESTIONS, "listeventsneedingmoderation"])
"""All but the one that asks for them (NIP-86)."""
