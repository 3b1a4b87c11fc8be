"""What the mesh shows of itself: one row for each device of the team, one line for each rung. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.status import AttemptStatus, PeerState, PeerStatus
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.mesh.attempts import Attempt
    from meshconsole.mesh.clock import Heard
    from meshconsole.mesh.ladder import Candidate
    from meshconsole.mesh.linking import PeerRecord
    from meshconsole.mesh.links.link import Link
    from meshconsole.mesh.roster import Device
    from meshconsole.mesh.session import PeerSession


SHOWN_ATTEMPTS = 8


def peer_status(
    device: Device,
    session: PeerSession | None,
    record: PeerRecord,
    candidates: tuple[Candidate, ...],
    attempts: tuple[Attempt, ...],
    channel_error: str,
    to_epoch: Callable[[float], float],
    clock: Heard | None = None,
    *,
    heard_by: tuple[str, ...] = (),
    heard_us: bool | None = None,
    hears: tuple[str, ...] = (),
) -> PeerStatus:
    """`channel_error` says why there is no data channel; `to_epoch` turns the ladder's clock into seconds
    since the epoch.
    """
    links = [link for link in session.links if link.closed is None] if session is not None else []
    state = _state(links, candidates)
    lag = session.lag if session is not None else None
    waiting = [c.next_try for c in candidates if c.outcome != "trying"]
    return PeerStatus(
        npub=device.npub,
        name=safe(device.name, 64),
        role=device.role,
        state=state,
        links=tuple(link.status() for link in links),
        hears_us=_hears_us(links) if links else heard_us,
        last_heard=record.last_heard,
        lag_events=lag[0] if lag is not None else None,
        lag_bytes=lag[1] if lag is not None else None,
        clock_offset_s=round(clock.offset_s, 1) if clock is not None else None,
        clock=clock.quality if clock is not None else None,
        carries=session.carries if session is not None else "full",
        capabilities=tuple(safe(word, 32) for word in record.capabilities),
        addresses=tuple(safe(address, 80) for address in record.addresses)
        or tuple(c.address for c in candidates),
        last_error=safe(_trouble(links, session, record, candidates, channel_error), 200),
        next_try=to_epoch(min(waiting)) if waiting and not links else None,
        heard_by=heard_by,
        hears=hears,
        attempts=tuple(_attempt(attempt, to_epoch) for attempt in attempts[:SHOWN_ATTEMPTS]),
    )


def _attempt(attempt: Attempt, to_epoch: Callable[[float], float]) -> AttemptStatus:
    return AttemptStatus(
        source=attempt.source,
        address=safe(attempt.address, 80),
        at=to_epoch(attempt.at),
        outcome=attempt.outcome,
        error=safe(attempt.error, 200),
        took_s=round(attempt.took_s, 3),
    )


def _state(links: list[Link], candidates: tuple[Candidate, ...]) -> PeerState:
    if links:
        return "suspect" if all(link.is_suspect for link in links) else "up"
    if any(candidate.outcome == "trying" for candidate in candidates):
        return "connecting"
    return "down"


def _trouble(
    links: list[Link],
    session: PeerSession | None,
    record: PeerRecord,
    candidates: tuple[Candidate, ...],
    channel_error: str,
) -> str:
    if links:
        if session is not None and session.trouble:
            return session.trouble
        has_channel = any(link.pipe.path == "webrtc" for link in links)
        return f"No data channel: {channel_error}" if channel_error and not has_channel else ""
    failed = [c for c in candidates if c.last_error]
    if failed:
        return max(failed, key=lambda c: c.last_try or 0.0).last_error
    return record.last_reason


def _hears_us(links: list[Link]) -> bool | None:
    said = [link.hears_us for link in links]
    if True in said:
        return True
    return False if False in said else None
