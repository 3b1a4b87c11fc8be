"""From what was seen of a device to the proven cause, if there is one. Pure.

The law: a name is given only to what the observations prove. Where two causes would explain them, or
none, the sentence says what was tried and the cause is "". Causes are asked in the order in which one
hides the next: who keeps silent himself sees nothing of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from meshconsole.core.reachability import Diagnosis
from meshconsole.mesh.endpoints import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.reachability import Cause
    from meshconsole.core.status import PathName

CLOCK_S = 60.0
"""Clocks further apart than this mislead people who read times."""

Tcp = Literal["open", "refused", "silent", "unreachable"]
"""silent: nothing came back; unreachable: this machine or a router says that there is no way."""
Welcome = Literal["", "member", "stranger", "refuses-us", "broken"]
"""What a handshake at the address showed: another member, a device that is not of the team, one of the
team that does not want this device, or no handshake at all."""


@dataclass(frozen=True, slots=True)
class LinkSeen:
    """A link of the device during the examination."""

    path: PathName
    address: str
    answers: bool
    """An echo came back."""
    is_heard: bool
    """Anything came from the other side."""


@dataclass(frozen=True, slots=True)
class AddressSeen:
    """An address where the device was or said it is; or, if not `is_its_own`, one where some device of the
    team or of another one was found during the examination."""

    address: str
    tcp: Tcp
    welcome: Welcome = ""
    is_its_own: bool = True
    on_own_network: bool = True
    """Of this machine: what is said to all can get there."""
    answers_alone: bool = False
    """Something of meshconsole there answered a question by UDP that went to this address only."""
    answers_all: bool = False
    """... one that went to everybody by multicast."""
    is_marked: bool = False
    """... with the team's mark."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an examination of one device brought to light."""

    who: str
    npub: str
    is_member: bool
    was_removed: bool = False
    silence: Literal["", "ours", "theirs"] = ""
    links: tuple[LinkSeen, ...] = ()
    addresses: tuple[AddressSeen, ...] = ()
    is_last_missing: bool = False
    """All other devices of the team have links here: an unknown one of the team is this one."""
    is_heard: bool = False
    """A beacon of it came during the examination."""
    beacons: tuple[str, ...] = ()
    """The ways by which its beacons came lately: "broadcast", "multicast-4", ..."""
    beacons_now: tuple[str, ...] = ()
    """Those by which one came while this was looked into: what came before proves nothing of now."""
    said_deaf: bool = False
    """It ended its last link because it heard nothing of this device, and could say so."""
    via: tuple[str, ...] | None = None
    """Names of the devices over which an echo reached it; None if none did, () if it went straight."""
    clock_offset_s: float | None = None
    has_turn: bool = False
    turn_answers: bool = False
    same_network: bool = True
    """One of its addresses is on a network of this machine."""
    strangers: tuple[str, ...] = ()
    """Addresses where devices answer that are not of the team."""


def diagnose(seen: Seen) -> Diagnosis:
    for rule in _RULES:
        found = rule(seen)
        if found is not None:
            return found
    return _unproven(seen)


def _diagnosis(seen: Seen, cause: Cause, sentence: str, remedy: str = "") -> Diagnosis:
    return Diagnosis(seen.who, seen.npub, _is_linked(seen), cause, sentence, remedy, tuple(_evidence(seen)))


def _own(seen: Seen) -> tuple[AddressSeen, ...]:
    return tuple(at for at in seen.addresses if at.is_its_own)


def _is_linked(seen: Seen) -> bool:
    return any(link.answers for link in seen.links)


# --- Rules, in order ------------------------------------------------------------------------------


def _radio_silence(seen: Seen) -> Diagnosis | None:
    if seen.silence == "ours":
        return _diagnosis(
            seen, "radio-silence", "This node keeps radio silence: it sends nothing, so nobody can answer."
        )
    if seen.silence == "theirs" and not _is_linked(seen):
        return _diagnosis(seen, "radio-silence", f"{seen.who} said that it keeps radio silence.")
    return None


def _revoked(seen: Seen) -> Diagnosis | None:
    if seen.was_removed:
        return _diagnosis(
            seen,
            "revoked",
            f"{seen.who} was removed from the team.",
            "If that was a mistake, invite the device again: meshconsole team invite",
        )
    refusing = next((a for a in seen.addresses if a.welcome == "refuses-us"), None)
    if refusing is not None and not _is_linked(seen):
        name = seen.who if refusing.is_its_own else "A device of the team"
        return _diagnosis(
            seen,
            "revoked",
            f"{name} answers at {refusing.address} and does not take this device for one of its team: "
            "it was removed there.",
            "Ask an admin of the team; a new invite brings this device back.",
        )
    return None


def _other_team(seen: Seen) -> Diagnosis | None:
    if _is_linked(seen):
        return None
    where = next((a.address for a in _own(seen) if a.welcome == "stranger"), "")
    if seen.is_member and where:
        return _diagnosis(
            seen,
            "other-team",
            f"Where {seen.who} was, at {where}, a device answers that is not of this team.",
            f"If it is {seen.who}'s, it has new keys or another team: invite it again.",
        )
    if not seen.is_member and seen.strangers:
        return _diagnosis(
            seen,
            "other-team",
            f"{seen.who} is not of this team; a device of another team answers at "
            f"{', '.join(seen.strangers)}.",
            "Invite it: meshconsole team invite",
        )
    return None


def _not_of_the_team(seen: Seen) -> Diagnosis | None:
    if seen.is_member:
        return None
    return _diagnosis(
        seen, "", f"The team has no device {seen.who}.", "See: meshconsole team members. Or invite it."
    )


def _one_way(seen: Seen) -> Diagnosis | None:
    if _is_linked(seen):
        return None
    deaf = next((link for link in seen.links if link.is_heard), None)
    remedy = "Look for a wall, a weak sender or a firewall on the way there; it works in one direction only."
    if deaf is not None:
        return _diagnosis(
            seen,
            "one-way",
            f"{seen.who} is heard over {deaf.path} from {deaf.address}, but nothing that is sent to it is "
            "answered: it does not hear this device.",
            remedy,
        )
    own = _own(seen)
    nobody_answers = all(
        a.tcp in ("silent", "unreachable") and not a.answers_alone and not a.answers_all for a in own
    )
    if own and nobody_answers and (seen.said_deaf or seen.is_heard):
        return _diagnosis(
            seen,
            "one-way",
            f"{seen.who} is heard, but nothing that is sent to it is answered: it does not hear this device.",
            remedy,
        )
    return None


def _port_blocked(seen: Seen) -> Diagnosis | None:
    if _is_linked(seen):
        return None
    if any(at.welcome == "member" for at in seen.addresses):
        return None
    own = _own(seen)
    # What is known of it may be an address (IPv6, of the link) at which no question by UDP is asked.
    found = [a for a in seen.addresses if not a.is_its_own and (a.is_marked or not own)]
    for at in (*own, *(found if seen.is_last_missing else ())):
        is_alive = at.answers_alone or at.answers_all
        if at.tcp != "open" and is_alive:
            how = "refuses" if at.tcp == "refused" else "does not let through"
            return _diagnosis(
                seen,
                "port-blocked",
                f"{seen.who} runs at {at.address} and answers by UDP, but its machine {how} TCP "
                "connections to that port.",
                "Open the port in the firewall of that machine, or choose another: node.listen",
            )
    return None


def _dead_turn(seen: Seen) -> Diagnosis | None:
    if _is_linked(seen) or seen.same_network or not seen.has_turn or seen.turn_answers or not seen.via:
        return None
    return _diagnosis(
        seen,
        "dead-turn",
        f"{seen.who} is on another network and is reached over {', '.join(seen.via)} only; a direct path "
        "needs the TURN server, which does not answer.",
        "Start the server, or correct nat.turn_servers.",
    )


def _multicast_filtered(seen: Seen) -> Diagnosis | None:
    alone = [a for a in _own(seen) if a.answers_alone and a.on_own_network and not is_loopback(a.address)]
    if not alone or any(a.answers_all for a in _own(seen)):
        return None
    if any(way.startswith("multicast") for way in seen.beacons_now):
        return None
    state = "is linked, but" if _is_linked(seen) else "is not found, because"
    return _diagnosis(
        seen,
        "multicast-filtered",
        f"{seen.who} {state} this network does not carry multicast: at {alone[0].address} a question to it "
        "alone is answered, one to all is not.",
        "Switch off client isolation or IGMP snooping at the access point, or give addresses in invites.",
    )


def _clock(seen: Seen) -> Diagnosis | None:
    offset = seen.clock_offset_s
    if offset is None or abs(offset) < CLOCK_S:
        return None
    how = "ahead of" if offset > 0 else "behind"
    return _diagnosis(
        seen,
        "clock",
        f"{seen.who}'s clock is {_duration(abs(offset))} {how} this one: one of the two is wrong, and "
        "times of notes mislead.",
        "Set the wrong clock.",
    )


_RULES: tuple[Callable[[Seen], Diagnosis | None], ...] = (
    _radio_silence,
    _revoked,
    _other_team,
    _not_of_the_team,
    _one_way,
    _port_blocked,
    _dead_turn,
    _multicast_filtered,
    _clock,
)


def _unproven(seen: Seen) -> Diagnosis:
    if _is_linked(seen):
        paths = " and ".join(sorted({link.path for link in seen.links if link.answers}, reverse=True))
        return _diagnosis(seen, "", f"{seen.who} is linked over {paths}; nothing is wrong.")
    if seen.via is not None:
        over = f"over {', '.join(seen.via)}" if seen.via else "now"
        return _diagnosis(seen, "", f"{seen.who} has no link here and is reached {over}.")
    if not seen.addresses:
        return _diagnosis(
            seen,
            "",
            f"No address of {seen.who} is known, and nobody answers to its name.",
            "Is its node running? Once: meshconsole team invite --address, and join with that.",
        )
    return _diagnosis(
        seen,
        "",
        f"{seen.who} does not answer anywhere; it may be off, or far away.",
        "See what was tried below. Is its node running?",
    )


# --- Evidence -------------------------------------------------------------------------------------


def _evidence(seen: Seen) -> list[str]:
    lines = []
    for link in seen.links:
        heard = "it was heard" if link.is_heard else "nothing was heard"
        answered = "answered" if link.answers else "did not answer"
        lines.append(f"link over {link.path} to {link.address}: {answered} an echo, {heard}")
    for at in seen.addresses:
        parts = [f"TCP {at.tcp}"]
        if at.welcome:
            parts.append(_WELCOMES[at.welcome])
        parts.append("answers a question to it alone" if at.answers_alone else "no answer by UDP")
        parts.append("answers one to all" if at.answers_all else "none to one by multicast")
        lines.append(f"{at.address}: {', '.join(parts)}")
    if seen.beacons:
        lines.append(f"its beacons come by {', '.join(seen.beacons)}")
    if seen.via:
        lines.append(f"an echo reached it over {', '.join(seen.via)}")
    if seen.said_deaf:
        lines.append("it ended its last link and said that it had heard nothing")
    if seen.has_turn:
        lines.append("the TURN server answers" if seen.turn_answers else "the TURN server does not answer")
    if seen.clock_offset_s is not None and abs(seen.clock_offset_s) >= 1:
        lines.append(f"its clock differs by {seen.clock_offset_s:+.0f} s")
    return lines


_WELCOMES = {
    "member": "a device of the team answers",
    "stranger": "a device that is not of the team answers",
    "refuses-us": "it does not want this device",
    "broken": "no mesh node answers",
}


def _duration(seconds: float) -> str:
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = round(seconds / size)
        if count >= 1 and seconds >= size:
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return f"{seconds:.0f} seconds"
