"""1 Peers: the other devices of the team, and how well they are reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.widgets.spark import spark
from meshconsole.console.words import (
    ago_in_words,
    count_in_words,
    duration_in_words,
    loss_in_words,
    short_key,
    size_in_words,
    skew_in_words,
    uplink_in_words,
    way_in_words,
)
from meshconsole.core.status import PeerStatus

if TYPE_CHECKING:
    from meshconsole.console.ink import Span, Tone
    from meshconsole.console.model import Model
    from meshconsole.console.profile import Profile
    from meshconsole.core.history import History

TONES: dict[str, Tone] = {"up": "good", "suspect": "warn", "connecting": "warn", "down": "bad"}


class Peers(Lines[PeerStatus]):
    def __init__(self, profile: Profile) -> None:
        glyphs = profile.glyphs
        self.signs = {
            "up": glyphs.up,
            "suspect": glyphs.suspect,
            "connecting": glyphs.connecting,
            "down": glyphs.down,
        }
        self.now = 0.0
        self.has_team: bool | None = None
        self.discovery: tuple[str, ...] = ()
        self.uplinks: tuple[str, ...] = ()
        self.rtts: dict[str, History] = {}
        super().__init__(
            [
                Column("STATE", 12, self._state),
                Column("NAME", 0, _name, private=True),
                Column("ROLE", 8, lambda peer: (peer.role, "dim"), rank=7),
                Column("PATH", 10, self._path, rank=2),
                Column("RTT", 6, _rtt, rank=3, right=True),
                Column("LOSS", 4, _loss, rank=7, right=True),
                Column("HEARS", 5, _hears_us, rank=1),
                Column("HEARD", 6, self._heard, rank=4, right=True),
                Column("BEHIND", 6, _lag, rank=5, right=True),
                Column("BYTES", 6, _lag_bytes, rank=9, right=True),
                Column("PQ", 3, _post_quantum, rank=7),
                Column("NEXT TRY, FAULT", 16, self._fault, rank=6, private=True),
                Column("RTT TREND", 16, self._trend, rank=9),
                Column("ADDRESS", 24, _address, rank=10, private=True),
                Column("KEY EXCHANGE", 15, _group, rank=11),
            ],
            key=lambda peer: peer.npub,
            profile=profile,
            title="1 Peers",
            flexible=8,
            pleasant=14,
            id="peers",
            classes="pane",
        )

    def show(self, model: Model) -> None:
        if model.status is None:
            return
        peers, now = model.status.peers, model.status.now
        around = self.has_team, self.discovery, self.uplinks
        self.discovery = model.status.discovery
        self.uplinks = tuple(f"{up.url}  {uplink_in_words(up, now)}" for up in model.status.uplinks)
        self.rtts = model.rtts
        self.has_team = model.status.team is not None
        changed = list(peers) != self.listing.rows or around != (self.has_team, self.discovery, self.uplinks)
        self.now = now
        # "3 s ago" is only worth a repaint where it is drawn.
        if changed or (peers and self.size.width >= 64):
            self.replace(peers)
        up = sum(peer.state == "up" for peer in peers)
        self.set_note(f"{up} of {len(peers)} up" if peers else "")

    def _path(self, peer: PeerStatus) -> Span:
        """Without the name of who is between, while names are hidden."""
        words, tone = _path(peer)
        return ("via" if self.hiding and words.startswith("via ") else words), tone

    def teach(self) -> list[str]:
        if self.has_team is None:
            return ["Waiting for the node."]
        if not self.has_team:
            return [
                "In no team yet.",
                "Create one:  :create NAME",
                "Or join one:  :join INVITE",
                *self.discovery,
            ]
        invite = self.key("team.invite")
        return [
            f"No peers yet. Press {invite} to invite a device, or wait: known ones are looked for.",
            *self.discovery,
        ]

    def footnotes(self) -> list[str]:
        uplinks = ["uplinks", *(f"  {line}" for line in self.uplinks)] if self.uplinks else []
        found = ["discovery", *(f"  {line}" for line in self.discovery)] if self.discovery else []
        return [*uplinks, *found]

    def text_of(self, row: PeerStatus) -> str:
        links = " ".join(f"{link.path} {link.address}" for link in row.links)
        places = f"{way_in_words(row)} {links} {' '.join(row.addresses)}"
        return f"{row.state} {row.name} {row.npub} {row.role} {places} {row.last_error}"

    def _state(self, peer: PeerStatus) -> Span:
        return f"{self.signs[peer.state]} {peer.state}", TONES[peer.state]

    def _fault(self, peer: PeerStatus) -> Span:
        """When it is tried next stands first: the end of a long fault is cut off."""
        if peer.state == "up" and not peer.last_error:
            return "", ""
        wait = duration_in_words(peer.next_try - self.now) if peer.next_try and not peer.links else ""
        return "; ".join(filter(None, (f"in {wait}" if wait else "", peer.last_error))), "warn"

    def _trend(self, peer: PeerStatus) -> Span:
        return rtt_trend(self.rtts.get(peer.npub), 16, self.profile), "dim"

    def _heard(self, peer: PeerStatus) -> Span:
        if peer.last_heard is None:
            return "never", "dim"
        return duration_in_words(self.now - peer.last_heard), "dim"


def _name(peer: PeerStatus) -> Span:
    return peer.name or short_key(peer.npub), "dim" if peer.state == "down" else "strong"


def _path(peer: PeerStatus) -> Span:
    if peer.carries != "full":
        return peer.carries.removesuffix(" only"), "warn"
    return way_in_words(peer), "" if peer.links else "dim"


def _rtt(peer: PeerStatus) -> Span:
    times = [link.rtt_ms for link in peer.links if link.rtt_ms is not None]
    if not times:
        return "", ""
    best = min(times)
    return f"{best:.0f} ms", "warn" if best > 500 else ""


def _hears_us(peer: PeerStatus) -> Span:
    if peer.hears_us is None:
        return "?" if peer.links else "", "dim"
    return ("yes", "") if peer.hears_us else ("no", "bad")


def _lag(peer: PeerStatus) -> Span:
    if peer.lag_events is None:
        return "", ""
    return ("level", "dim") if peer.lag_events == 0 else (count_in_words(peer.lag_events), "warn")


def _lag_bytes(peer: PeerStatus) -> Span:
    return (size_in_words(peer.lag_bytes) if peer.lag_bytes else ""), "warn"


def _loss(peer: PeerStatus) -> Span:
    words = loss_in_words(peer)
    return words, "" if words in ("", "0 %") else "warn"


def _post_quantum(peer: PeerStatus) -> Span:
    """Of its links' key exchanges the weakest counts."""
    groups = [link.group for link in peer.links if link.group]
    if not groups:
        return "", ""
    return ("yes", "") if all("MLKEM" in group for group in groups) else ("no", "bad")


def _address(peer: PeerStatus) -> Span:
    if peer.links:
        return peer.links[0].address, "dim"
    return (peer.addresses[0] if peer.addresses else "", "dim")


def _group(peer: PeerStatus) -> Span:
    return (peer.links[0].group if peer.links else "", "dim")


def _clock(peer: PeerStatus) -> str:
    if peer.clock_offset_s is None:
        return "unknown"
    return f"{skew_in_words(peer) or f'{peer.clock_offset_s:+.1f} s from this one'} ({peer.clock})"


def behind_in_words(peer: PeerStatus) -> str:
    """What the peer holds and this node lacks."""
    if peer.lag_events is None:
        return "unknown"
    size = f", {size_in_words(peer.lag_bytes)} of them offered" if peer.lag_bytes else ""
    return (
        f"{peer.lag_events} events to take over{size}" if peer.lag_events else "nothing: the stores are equal"
    )


def rtt_trend(history: History | None, width: int, profile: Profile) -> str:
    return spark(history.values, width, profile.glyphs.spark).lstrip() if history is not None else ""


def in_full(peer: PeerStatus, now: float, trend: str = "") -> list[tuple[str, str]]:
    """Names and values for the detail screen."""
    facts = [
        ("name", peer.name),
        ("role", peer.role),
        ("state", peer.state),
        ("path", way_in_words(peer) or "none known"),
        ("hears us", {True: "yes", False: "no", None: "unknown"}[peer.hears_us]),
        ("heard", ago_in_words(peer.last_heard, now)),
        *([("round trips", f"{trend} newest last")] if trend else []),
        ("carries", {"full": "everything"}.get(peer.carries, peer.carries)),
        ("behind", behind_in_words(peer)),
        ("clock", _clock(peer)),
        ("wrong", peer.last_error or "nothing"),
        (
            "next try",
            "none planned" if peer.next_try is None else f"in {duration_in_words(peer.next_try - now)}",
        ),
        ("offers", ", ".join(peer.capabilities) or "nothing"),
        ("addresses", "\n".join(peer.addresses) or "none known"),
        ("npub", peer.npub),
    ]
    for number, link in enumerate(peer.links, 1):
        rtt = "unknown" if link.rtt_ms is None else f"{link.rtt_ms:.0f} ms"
        loss = "loss unknown" if link.loss_percent is None else f"{link.loss_percent:.0f} % lost"
        traffic = f"in {size_in_words(link.bytes_in)}, out {size_in_words(link.bytes_out)}"
        value = f"{link.path} to {link.address}\nround trip {rtt}, {loss}, {traffic}"
        value += f"\nkey exchange {link.group or 'unknown'}"
        facts.append((f"link {number}", f"{value}\nup for {duration_in_words(now - link.since)}"))
    return facts
