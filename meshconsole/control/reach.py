"""What may be asked of a node about the way to other devices, and about its network. Pure.

`who` is a device's name, the beginning of its key, or an address.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from meshconsole.control.wire import Message
from meshconsole.core.reachability import (  # noqa: TC001 - msgspec reads the annotations
    Diagnosis,
    Finding,
    Hop,
    Pong,
)

Who = Annotated[str, Meta(min_length=1, max_length=128)]


class PingPeer(Message, frozen=True):
    """One echo. Answered with `PongData`."""

    who: Who


class TracePeer(Message, frozen=True):
    """Answered with `HopsData`."""

    who: Who


class WhyPeer(Message, frozen=True):
    """Examines the way to one device, for up to ten seconds. Answered with `DiagnosisData`."""

    who: Who


class Netcheck(Message, frozen=True):
    """Examines this machine's network. Answered with `FindingsData`."""


class PongData(Message, frozen=True):
    pong: Pong


class HopsData(Message, frozen=True):
    hops: tuple[Hop, ...]


class DiagnosisData(Message, frozen=True):
    diagnosis: Diagnosis


class FindingsData(Message, frozen=True):
    findings: tuple[Finding, ...]


ReachCommand = PingPeer | TracePeer | WhyPeer | Netcheck
ReachData = PongData | HopsData | DiagnosisData | FindingsData
