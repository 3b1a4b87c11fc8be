"""NIP-01's filters in their plainest form, on JSON as it is on the wire: what the relay is held against."""

from __future__ import annotations

from typing import Any


def dumb_matches(wanted: dict[str, Any], event: dict[str, Any], keys: frozenset[str]) -> bool:
    """Whether a client that has proven `keys` may be given this event for this filter."""
    for name, condition in wanted.items():
        if name == "ids" and event["id"] not in condition:
            return False
        if name == "authors" and event["pubkey"] not in condition:
            return False
        if name == "kinds" and event["kind"] not in condition:
            return False
        if name == "since" and not event["created_at"] >= condition:
            return False
        if name == "until" and not event["created_at"] <= condition:
            return False
        if name == "search":
            written_to_be_read = event["kind"] in (0, 1)
            if not written_to_be_read or any(word not in event["content"] for word in condition.split()):
                return False
        if name.startswith("#"):
            firsts = [tag[1] for tag in event["tags"] if tag[0] == name[1:] and len(tag) > 1]
            if not any(first in condition for first in firsts):
                return False
    if event["kind"] in (1059, 21059):
        return any(tag[0] == "p" and len(tag) > 1 and tag[1] in keys for tag in event["tags"])
    return True


def dumb_stored(
    filters: list[dict[str, Any]], stored: list[dict[str, Any]], keys: frozenset[str]
) -> list[str]:
    """Ids, newest first and lowest id first: of each filter so many as its limit says, each event once."""
    ordered = sorted(stored, key=lambda event: (-event["created_at"], event["id"]))
    given: set[str] = set()
    for wanted in filters:
        found = [event["id"] for event in ordered if dumb_matches(wanted, event, keys)]
        given.update(found[: wanted.get("limit", len(found))])
    return [event["id"] for event in ordered if event["id"] in given]
