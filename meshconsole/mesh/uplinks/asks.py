"""What a conversation with a plain relay asks of its shell, and by what it is answered. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Collect:
    """Ask: what the store holds of `wanted`, answered with `collected`."""


@dataclass(slots=True, frozen=True)
class Settle:
    """Ask: which of these is worth fetching? Answered with `needed`."""

    ids: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Load:
    """Ask: these events as far as they are here, answered with `loaded`."""

    ids: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class Keep:
    """Ask: take this in if it is right and wanted; nothing is answered."""

    raw: bytes
