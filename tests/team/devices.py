"""Devices with real keys that talk when a test says so, each with its own mailbox of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.core.kinds import EPOCH_GRANT, KEY_BUNDLE, ROSTER_ENTRY
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.suites import MC1
from meshconsole.team.state import Team

if TYPE_CHECKING:
    from collections.abc import Iterable

    from meshconsole.core.event import Event
    from meshconsole.team.ops import GivenRole

PROVIDER = default_provider()
NOW = 1_800_000_000
DAY_S = 86_400


@dataclass
class Device:
    me: Identity
    team: Team
    log: dict[str, Event] = field(default_factory=dict)
    """Every control event it has heard of, as its store would hold them."""

    @property
    def npub(self) -> str:
        return self.me.npub

    def say(self, events: Iterable[Event]) -> list[Event]:
        """Stores own events; other devices hear of them with `hear`."""
        events = list(events)
        self.log.update((event.id, event) for event in events)
        return events

    def hear(self, *others: Device) -> None:
        for other in others:
            for event in other.log.values():
                if event.id not in self.log:
                    self.log[event.id] = event
                    self.team.accept(event)

    def restart(self) -> Team:
        loaded = Team.load(self.me, list(self.log.values()), PROVIDER, self.team.team_id)
        assert loaded is not None
        self.team = loaded
        return loaded

    def roles(self) -> dict[str, str]:
        return {member.name: member.role for member in self.team.members() if not member.removed}


def identity() -> Identity:
    return Identity.generate(MC1, PROVIDER)


def founder(name: str = "alpha", root: Identity | None = None) -> Device:
    me = identity()
    bundle = root.bundle_event(NOW) if root else None
    team, events = Team.found(me, "Falcon", name, NOW, PROVIDER, bundle)
    device = Device(me, team)
    device.say(events)
    return device


def join(admin: Device, name: str, role: GivenRole = "member", me: Identity | None = None) -> Device:
    me = me or identity()
    admin.say(admin.team.admit(me.bundle_event(NOW), name, role, NOW))
    team = Team.load(me, list(admin.log.values()), PROVIDER, admin.team.team_id)
    assert team is not None
    return Device(me, team, dict(admin.log))


def sync(*devices: Device) -> None:
    for device in devices:
        device.hear(*devices)


def entries(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.kind == ROSTER_ENTRY]


def grants(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.kind == EPOCH_GRANT]


def bundles(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if event.kind == KEY_BUNDLE]
