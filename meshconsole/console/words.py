"""Quantities as people read them. Pure."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from meshconsole.core.status import PeerStatus, SentStatus, UplinkStatus


def size_in_words(size_bytes: float) -> str:
    """Decimal units, three digits at most: "318 MB"."""
    value = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def rate_in_words(rate_bps: float) -> str:
    """Bytes per second as bits, the unit that the limit is set in: "1.2 Mbit/s"."""
    bits = rate_bps * 8
    if bits < 1000:
        return f"{bits:.0f} bit/s"
    if bits < 999_500:
        return f"{bits / 1e3:.0f} kbit/s"
    return f"{bits / 1e6:.1f} Mbit/s"


def count_in_words(count: int) -> str:
    """Thousands set apart by a thin gap that every font has: "12 480"."""
    return f"{count:,}".replace(",", " ")


def duration_in_words(seconds: float) -> str:
    """Two units at most: "45 s", "12 min", "2h14", "3 d"."""
    seconds = max(0, int(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02d}"
    return f"{seconds // 86_400} d"


def clock_in_words(at: float) -> str:
    """Local time of day. A time outside of the calendar, which a stranger may send, is "--:--:--"."""
    return _local(at, "%H:%M:%S", "--:--:--")


def moment_in_words(at: float) -> str:
    """Local date and time."""
    return _local(at, "%Y-%m-%d %H:%M:%S", "outside of the calendar")


def ago_in_words(at: float | None, now: float) -> str:
    if at is None:
        return "never"
    return f"{duration_in_words(now - at)} ago"


def short_key(key: str) -> str:
    """The beginning and end of a key or id, enough to recognise and not to compare."""
    return key if len(key) <= 11 else f"{key[:6]}…{key[-4:]}"


def _local(at: float, pattern: str, otherwise: str) -> str:
    try:
        return time.strftime(pattern, time.localtime(at))
    except (OverflowError, ValueError, OSError):
        return otherwise


def way_in_words(peer: PeerStatus) -> str:
    """lan or direct, webrtc or turn; without a link: via X, carried, or nothing."""
    if not peer.links:
        return peer.via if peer.via in ("", "carried") else f"via {peer.via}"
    ways: dict[str, None] = {}
    for link in peer.links:
        if link.path == "webrtc":
            ways["turn" if link.relayed else "webrtc"] = None
        else:
            ways["lan" if _is_near(link.address) else "direct"] = None
    return "+".join(sorted(ways, key=["lan", "direct", "webrtc", "turn"].index))


def loss_in_words(peer: PeerStatus) -> str:
    """Of its best link."""
    losses = [link.loss_percent for link in peer.links if link.loss_percent is not None]
    return f"{min(losses):.0f} %" if losses else ""


def _is_near(address: str) -> bool:
    """In a network of the site's own: there is no router of a provider between."""
    try:
        return not ipaddress.ip_address(address.rpartition(":")[0].strip("[]").partition("%")[0]).is_global
    except ValueError:
        return False


def uplink_in_words(uplink: UplinkStatus, now: float) -> str:
    """What a plain relay that carries the team's events does for it now."""
    words: list[str] = [uplink.state]
    if uplink.lag_in is not None and uplink.state != "level":
        words.append(f"{uplink.lag_in} to fetch, {uplink.lag_out} to send")
    if uplink.since is not None:
        words.append(f"{uplink.received} in, {uplink.sent} out")
    if uplink.note:
        words.append(uplink.note)
    if uplink.next_try is not None:
        words.append(f"next try in {duration_in_words(max(0.0, uplink.next_try - now))}")
    return "; ".join(words)


def copies_in_words(copies: Sequence[str], wanted: int) -> str:
    """ "2 of 3 wanted, on hub and ridge-pi"; nothing where nobody wants any."""
    if not copies and not wanted:
        return ""
    count = f"{len(copies)} of {wanted} wanted" if wanted else f"{len(copies)}"
    places = ", ".join(copies[:-1]) + " and " + copies[-1] if len(copies) > 1 else "".join(copies)
    return f"{count}, on {places}" if copies else count


SKEW_S = 5.0


def skew_in_words(peer: PeerStatus) -> str:
    """What is wrong with a peer's clock, seen from this one; "" for nothing."""
    offset = peer.clock_offset_s
    if offset is None or abs(offset) < SKEW_S:
        return ""
    return f"its clock is {duration_in_words(abs(offset))} {'ahead' if offset > 0 else 'behind'}"


def receipt_facts(sent: SentStatus, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """What became of a note of this device, and of whom it is known; `names` by npub."""

    def named(npubs: Sequence[str]) -> str:
        return ", ".join(names.get(npub, npub[:8]) for npub in npubs)

    facts = [("precedence", sent.precedence), ("receipt", sent.state)]
    parts = (("read by", sent.read), ("with", sent.has), ("not yet with", sent.lacks))
    return facts + [(label, named(npubs)) for label, npubs in parts if npubs]
