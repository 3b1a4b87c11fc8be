"""Events, clocks and accesses for the relay's tests."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.core.event import Event, Tags, encode_event, event_id
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.crypto.schnorr import public_key, sign_event

if TYPE_CHECKING:
    from collections.abc import Collection

NOW = 1_800_000_000

KEY = b"k" * 32
TAG_KEY = b"t" * 32


def secret(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def npub(name: str) -> str:
    """A real public key for a name such as "alice"."""
    return public_key(secret(name))


def fake_npub(name: str) -> str:
    """64 hex digits that no signature is checked against."""
    return hashlib.sha256(name.encode()).hexdigest()


def signed(
    author: str = "alice",
    kind: int = 1,
    tags: Tags = (),
    content: str = "hello",
    created_at: int = NOW,
) -> Event:
    return sign_event(secret(author), kind, tags, content, created_at)


def unsigned(
    author: str = "alice",
    kind: int = 1,
    tags: Tags = (),
    content: str = "hello",
    created_at: int = NOW,
) -> Event:
    """For what lies behind the signature check: a true id under a false signature."""
    pubkey = fake_npub(author)
    digest = event_id(pubkey, created_at, kind, tags, content)
    return Event(digest.hex(), pubkey, created_at, kind, tags, content, "00" * 64)


def raw(event: Event) -> bytes:
    return encode_event(event)


def event_message(event: Event) -> bytes:
    return b'["EVENT",' + raw(event) + b"]"


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


class Public:
    """Everybody may do everything."""

    def public(self) -> bool:
        return True

    def may_write(self, npubs: Collection[str]) -> Verdict:
        return ACCEPTED

    def may_read(self, npubs: Collection[str]) -> Verdict:
        return ACCEPTED


@dataclass
class Members:
    """Only proven members may read and write. The set may change while sessions are open."""

    npubs: set[str] = field(default_factory=set)

    def public(self) -> bool:
        return False

    def may_write(self, npubs: Collection[str]) -> Verdict:
        return self._check(npubs)

    def may_read(self, npubs: Collection[str]) -> Verdict:
        return self._check(npubs)

    def _check(self, npubs: Collection[str]) -> Verdict:
        if not npubs:
            return refuse("auth-required", "say who you are")
        return ACCEPTED if self.npubs.intersection(npubs) else refuse("restricted", "members only")
