"""Devices with real keys, made once for all tests of this room: key generation is slow."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from meshconsole.crypto.identity import Identity
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.suites import MC1, MC2, Suite
from meshconsole.crypto.tls import LinkCredentials
from meshconsole.team.state import Team

if TYPE_CHECKING:
    from meshconsole.core.event import Event

NOW = 1_700_000_000


@lru_cache(maxsize=256)
def identity(name: str, suite: Suite = MC1) -> Identity:
    return Identity(name.encode().ljust(32, b"."), suite, default_provider())


@lru_cache(maxsize=256)
def credentials(name: str, suite: Suite = MC1) -> LinkCredentials:
    return LinkCredentials.make(identity(name, suite))


def key_of(name: str, suite: Suite = MC1) -> bytes:
    return identity(name, suite).mldsa_public


__all__ = ["MC1", "MC2", "credentials", "identity", "key_of"]


def flash_event(text: str) -> tuple[Team, Event]:
    team, _ = Team.found(identity("alice"), "Falcon", "alice", NOW, default_provider())
    return team, team.seal_note(text, NOW, "flash")
