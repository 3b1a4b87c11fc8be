"""The board of the newest roll call, made of the events that are remembered. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.status import RollCallStatus, RollStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from meshconsole.core.status import EventView, MemberStatus

ANSWERING_ROLES = ("admin", "member")
"""Who may write, and so is asked."""


def roll_call(
    events: Iterable[EventView], members: Sequence[MemberStatus], brought_to: dict[str, Collection[str]]
) -> RollCallStatus | None:
    """`brought_to`: for calls of this device, by id, the npubs of the devices that have it."""
    said = [event for event in events if event.roll]
    asked = max(
        (event for event in said if event.roll == "ask"),
        key=lambda event: (event.created_at, event.id),
        default=None,
    )
    if asked is None:
        return None
    answers: dict[str, EventView] = {}
    for event in sorted(said, key=lambda event: (event.created_at, event.id)):
        if event.about == asked.id:
            answers[event.npub] = event  # the last word counts
    has = brought_to.get(asked.id, ())
    board = tuple(
        _on_board(member, answers.get(member.npub), has)
        for member in members
        if member.role in ANSWERING_ROLES and member.npub != asked.npub
    )
    return RollCallStatus(
        id=asked.id,
        npub=asked.npub,
        author=asked.author,
        words=asked.text,
        at=float(asked.created_at),
        owed=any(row.me and row.at is None for row in board),
        board=board,
    )


def _on_board(member: MemberStatus, answer: EventView | None, has: Collection[str]) -> RollStatus:
    if answer is not None and answer.roll in ("ok", "help", "out"):
        return RollStatus(member.npub, member.name, answer.roll, float(answer.created_at), member.me)
    return RollStatus(member.npub, member.name, "carried" if member.npub in has else "silent", me=member.me)
