from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.core import kinds
from meshconsole.core.errors import Refused
from meshconsole.relay import lists as acts
from meshconsole.relay.lists import Lists, canonical_ip
from tests.relay.making import fake_npub, unsigned

if TYPE_CHECKING:
    from collections.abc import Callable

ALICE = fake_npub("alice")
BOB = fake_npub("bob")


def test_nothing_listed_refuses_nothing() -> None:
    event = unsigned()
    empty = Lists()
    assert empty.judge_event(event).accepted
    assert empty.judge_id(event).accepted
    assert empty.judge_ip("10.0.0.1").accepted
    assert empty.judge_keys([ALICE]).accepted
    assert not empty.allows([ALICE])


def test_a_banned_key_neither_acts_nor_is_carried() -> None:
    lists = acts.ban_key(Lists(), ALICE, " spam ")
    assert lists.banned_keys == {ALICE: "spam"}
    assert lists.judge_keys([BOB, ALICE]).message == "blocked: this key is banned here"
    assert lists.judge_keys([BOB]).accepted
    assert lists.judge_event(unsigned("alice")).code == "blocked"
    assert lists.judge_event(unsigned("bob")).accepted
    assert lists.judge_id(unsigned("alice")).accepted, "over links the roster says who belongs"


def test_allowing_and_banning_exclude_each_other() -> None:
    lists = acts.allow_key(acts.ban_key(Lists(), ALICE), ALICE)
    assert (lists.banned_keys, lists.allows([BOB, ALICE])) == ({}, True)
    lists = acts.ban_key(lists, ALICE)
    assert (ALICE in lists.banned_keys, lists.allowed_keys) == (True, {})
    lists = acts.unban_key(lists, ALICE)
    assert (lists.banned_keys, lists.allowed_keys) == ({}, {}), "taken off one list, not put on the other"
    lists = acts.unallow_key(acts.allow_key(lists, ALICE), ALICE)
    assert (lists.banned_keys, lists.allowed_keys) == ({}, {})


def test_events() -> None:
    event = unsigned("alice", kind=7)
    lists = acts.ban_event(Lists(), event.id, "rude")
    assert lists.judge_id(event).code == "blocked"
    assert lists.judge_event(event).code == "blocked"
    lists = acts.allow_event(acts.disallow_kind(acts.ban_key(lists, event.pubkey), 7), event.id)
    assert lists.banned_events == {}
    assert lists.judge_event(event).accepted, "an allowed event passes what its author and kind would not"
    lists = acts.unallow_event(lists, event.id)
    assert lists.judge_event(event).code == "blocked"
    assert acts.unban_event(acts.ban_event(lists, event.id), event.id).banned_events == {}


def test_what_makes_the_team_cannot_be_listed_away() -> None:
    entry = unsigned(kind=kinds.ROSTER_ENTRY)
    assert acts.ban_event(Lists(), entry.id).judge_id(entry).accepted
    with pytest.raises(Refused, match="cannot be disallowed"):
        acts.disallow_kind(Lists(), kinds.TEAM_NOTE)


def test_kinds() -> None:
    only_notes = acts.allow_kind(Lists(), 1)
    assert only_notes.judge_kind(1).accepted
    assert only_notes.judge_kind(7).message == "blocked: this kind of event is not taken here: 7"
    without = acts.disallow_kind(Lists(), 7)
    assert without.judge_kind(1).accepted
    assert not without.judge_kind(7).accepted
    assert acts.allow_kind(without, 7) == Lists(), "taking back what was disallowed makes no allow list"
    ended = acts.disallow_kind(only_notes, 1)
    assert (ended.allowed_kinds, ended.disallowed_kinds) == (frozenset(), frozenset({1}))
    assert ended.judge_kind(7).accepted


def test_addresses_have_one_spelling() -> None:
    assert canonical_ip("::ffff:10.0.0.1") == "10.0.0.1"
    assert canonical_ip("FE80:0::1%eth0") == "fe80::1"
    lists = acts.block_ip(Lists(), "10.0.0.1", "floods")
    assert lists.judge_ip("::ffff:10.0.0.1").code == "blocked"
    assert lists.judge_ip("10.0.0.2").accepted
    assert lists.judge_ip("").accepted
    assert acts.unblock_ip(lists, "::ffff:10.0.0.1") == Lists()


def test_the_face() -> None:
    lists = acts.set_icon(acts.describe(acts.rename(Lists(), " Hut "), "Up here"), "https://hut/icon.png")
    assert (lists.name, lists.description, lists.icon) == ("Hut", "Up here", "https://hut/icon.png")
    assert acts.set_icon(lists, "").icon == ""


@pytest.mark.parametrize(
    "act",
    [
        lambda: acts.ban_key(Lists(), ALICE.upper()),
        lambda: acts.allow_key(Lists(), "alice"),
        lambda: acts.ban_event(Lists(), ALICE[:-1]),
        lambda: acts.ban_key(Lists(), ALICE, "x" * 201),
        lambda: acts.allow_kind(Lists(), -1),
        lambda: acts.disallow_kind(Lists(), 65_536),
        lambda: acts.block_ip(Lists(), "10.0.0.0/8"),
        lambda: acts.rename(Lists(), "x" * 65),
        lambda: acts.set_icon(Lists(), "javascript:alert(1)"),
    ],
)
def test_nonsense_is_refused(act: Callable[[], Lists]) -> None:
    with pytest.raises(Refused) as caught:
        act()
    assert caught.value.code == "invalid"


def test_lists_are_bounded() -> None:
    full = Lists(banned_keys={f"{n:064x}": "" for n in range(acts.MAX_LISTED)})
    with pytest.raises(Refused, match="at most"):
        acts.ban_key(full, ALICE)
    assert acts.ban_key(full, f"{7:064x}", "again").banned_keys[f"{7:064x}"] == "again"


def test_they_survive_being_saved() -> None:
    lists = acts.block_ip(acts.disallow_kind(acts.ban_key(Lists(), ALICE, "spam"), 7), "::1")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(lists), type=Lists) == lists
