"""Invites: small, exact, checked, single-use."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.team.invites import MAX_TEXT, PREFIX, Invite, InviteBook, decode, encode, proof

QR_ALPHANUMERIC = set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
EXPORTER, BUNDLE = bytes(32), bytes([7]) * 32


def make(addresses: tuple[str, ...] = ("192.168.1.20:7447",), expires: int = 2_000_000_000) -> Invite:
    return Invite(bytes([1]) * 32, bytes([2]) * 32, os.urandom(16), expires, addresses)


@pytest.mark.parametrize(
    "addresses",
    [(), ("10.0.0.1:7447",), ("10.0.0.1:1", "[fd00::2]:65535"), ("hub.local:7447", "192.0.2.1:80")],
)
def test_an_invite_reads_back(addresses: tuple[str, ...]) -> None:
    invite = make(addresses)
    text = encode(invite)
    assert decode(text) == invite
    assert len(text) <= MAX_TEXT
    assert set(text) <= QR_ALPHANUMERIC


def test_addresses_that_do_not_fit_are_left_out() -> None:
    many = tuple(f"[2001:db8::{n}]:7447" for n in range(1, 6))
    text = encode(make(many))
    assert len(text) <= MAX_TEXT
    assert decode(text).addresses == many[:1]


def test_case_and_white_space_do_not_matter() -> None:
    invite = make()
    text = encode(invite)
    assert decode(f"  {text[:40].lower()}\n {text[40:]} ") == invite


def test_every_single_changed_character_is_noticed() -> None:
    text = encode(make())
    for position in range(len(PREFIX), len(text)):
        other = "A" if text[position] != "A" else "B"
        with pytest.raises(Refused) as caught:
            decode(text[:position] + other + text[position + 1 :])
        assert caught.value.code == "invalid"


def test_every_truncation_is_noticed() -> None:
    text = encode(make())
    for end in range(len(text)):
        with pytest.raises(Refused, match="not an invite"):
            decode(text[:end])


def test_a_newer_version_is_told_apart_from_a_broken_one() -> None:
    import base64

    newer = PREFIX + base64.b32encode(bytes([9]) + bytes(99)).decode().rstrip("=")
    with pytest.raises(Refused, match="newer meshconsole"):
        decode(newer)


@given(st.text(max_size=300) | st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", max_size=210).map(PREFIX.__add__))
def test_any_other_text_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(Refused) as caught:
        decode(text)
    assert caught.value.sentence.endswith(".")


def shown(invite: Invite, exporter: bytes = EXPORTER) -> bytes:
    return proof(invite.secret, exporter, BUNDLE)


def test_an_invite_admits_one_device_and_that_one_again() -> None:
    book, invite = InviteBook(), make(expires=100)
    book.offer(invite, "observer")
    first = book.redeem(shown(invite), EXPORTER, BUNDLE, "aa", now=50)
    assert (first.verdict.accepted, first.role) == (True, "observer")
    assert book.redeem(shown(invite), EXPORTER, BUNDLE, "aa", now=60).verdict.accepted
    other = book.redeem(shown(invite), EXPORTER, BUNDLE, "bb", now=60)
    assert not other.verdict.accepted
    assert "used already" in other.verdict.sentence
    assert book.open_invites(60) == ()


def test_expired_revoked_and_unknown_invites_are_refused_by_name() -> None:
    book, late, revoked, unknown = InviteBook(), make(expires=100), make(), make()
    book.offer(late, "member")
    revoked_id = book.offer(revoked, "member")
    assert book.revoke(revoked_id)
    assert not book.revoke("0" * 16)
    for invite, word in ((late, "expired"), (revoked, "revoked"), (unknown, "no such invite")):
        verdict = book.redeem(shown(invite), EXPORTER, BUNDLE, "aa", now=200).verdict
        assert not verdict.accepted
        assert word in verdict.sentence


def test_a_proof_is_good_for_one_session_and_one_device_only() -> None:
    book, invite = InviteBook(), make()
    book.offer(invite, "member")
    replayed = shown(invite, exporter=bytes([9]) * 32)
    assert not book.redeem(replayed, EXPORTER, BUNDLE, "aa", now=0).verdict.accepted
    assert not book.redeem(shown(invite), EXPORTER, bytes([8]) * 32, "aa", now=0).verdict.accepted


def test_the_door_is_open_only_while_somebody_is_expected() -> None:
    book = InviteBook()
    assert not book.expects_anybody(0)
    book.offer(make(expires=100), "member")
    assert book.expects_anybody(99)
    assert not book.expects_anybody(100)


def test_the_book_survives_a_restart_and_stays_bounded() -> None:
    book, invite = InviteBook(), make(expires=10**9)
    for number in range(300):
        book.offer(make(expires=number + 1), "member")
    book.offer(invite, "member")
    again = InviteBook.load(book.dump())
    assert again.redeem(shown(invite), EXPORTER, BUNDLE, "aa", now=0).verdict.accepted
    assert len(again.dump()) < 256 * 120
