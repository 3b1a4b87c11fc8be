"""How the relay knows that an event came over an uplink, and over which. Pure."""

from __future__ import annotations


def uplink_name(url: str) -> str:
    return f"uplink {url}"


def is_from_an_uplink(via: str) -> bool:
    return via.startswith("uplink ")
