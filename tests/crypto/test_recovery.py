"""Backups of an identity: what comes back is what was kept, and no other text passes for one."""

from __future__ import annotations

import random
from itertools import combinations
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic import generate_mnemonics

from meshconsole.core.errors import MeshconsoleError, Refused
from meshconsole.crypto import bech32
from meshconsole.crypto.recovery import Recovered, decode_identity, read_backup, to_shares, to_text
from meshconsole.crypto.suites import MC1, MC2

SEED = bytes(range(32))
NSEC = b"\5" * 32
PLAIN, FULL = Recovered(MC1.id, SEED), Recovered(MC2.id, SEED, NSEC)


def test_the_text_never_changes() -> None:
    """What lies in a safe must be readable for ever."""
    text = to_text(PLAIN)
    assert text == "mcseed1qyqqqqgzqvzq2ps8pqys5zcvp58q7yq3zgf3g9gkzuvpjxsmrsw3u8cy9qzmd"
    assert read_backup(text) == PLAIN


@pytest.mark.parametrize("identity", [PLAIN, FULL], ids=["derived", "imported"])
def test_both_forms_come_back(identity: Recovered) -> None:
    assert read_backup(to_text(identity)) == identity
    assert read_backup(f"\n  {to_text(identity).upper()} \n") == identity
    shares = to_shares(identity)
    for three in combinations(shares, 3):
        assert read_backup("\n".join(three)) == identity
    assert read_backup("\n\n".join(reversed(shares)).upper()) == identity


def test_two_shares_say_nothing_and_strangers_do_not_fit() -> None:
    shares, others = to_shares(PLAIN), to_shares(PLAIN)
    with pytest.raises(Refused, match="2 different shares were given, and 3 are needed"):
        read_backup("\n".join(shares[:2]))
    with pytest.raises(Refused, match="do not belong together"):
        read_backup("\n".join([*shares[:2], others[2]]))


def test_a_share_that_would_take_hours_is_refused_before_it_is_computed() -> None:
    """SLIP-39 lets a share ask for 10,000 * 2^15 rounds."""
    (phrases,) = generate_mnemonics(1, [(2, 2)], PLAIN.encoded, iteration_exponent=0)
    with mock.patch("shamir_mnemonic.combine_mnemonics", side_effect=AssertionError("it was computed")):
        from shamir_mnemonic import Share

        slow = [
            Share(
                share.identifier,
                share.extendable,
                15,
                share.group_index,
                share.group_threshold,
                share.group_count,
                share.index,
                share.member_threshold,
                share.value,
            ).mnemonic()
            for share in map(Share.from_mnemonic, phrases)
        ]
        with pytest.raises(Refused, match="not made by meshconsole"):
            read_backup("\n".join(slow))


@pytest.mark.parametrize(("need", "of"), [(1, 1), (1, 5), (4, 3), (2, 17), (0, 0)])
def test_shares_that_would_not_be_any(need: int, of: int) -> None:
    with pytest.raises(Refused):
        to_shares(PLAIN, need, of)


def encoded(data: bytes, prefix: str = "mcseed") -> str:
    return bech32.encode(prefix, data)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "No backup"),
        (encoded(PLAIN.encoded, "nsec"), "begins with nsec1"),
        (encoded(PLAIN.encoded[:-1]), "no backup"),
        (encoded(PLAIN.encoded + b"\0"), "no backup"),
        (encoded(bytes([1, 1]) + SEED), "no backup"),
        (encoded(bytes([1, 0]) + SEED + NSEC), "no backup"),
        (encoded(bytes([9, 0]) + SEED), "suite 9 is not known"),
        (encoded(bytes([1, 1]) + SEED + bytes(32)), "not possible"),
        ("one two three", "Share 1 is not right"),
        ("x" * 20_000, "longer"),
    ],
)
def test_what_is_none_is_told_so(text: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        read_backup(text)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assert decode_identity(data).encoded == data
    except MeshconsoleError:
        return


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(MeshconsoleError):
        read_backup(text)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_wrong_word_or_letter_never_gives_another_identity(data: st.DataObject) -> None:
    from shamir_mnemonic.wordlist import WORDLIST

    shares = to_shares(PLAIN)[:3]
    words = shares[0].split()
    words[data.draw(st.integers(0, len(words) - 1))] = data.draw(st.sampled_from(WORDLIST))
    text = list(to_text(PLAIN))
    text[data.draw(st.integers(7, len(text) - 1))] = data.draw(st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce"))
    random.Random(1).shuffle(shares)
    for damaged in ("\n".join([" ".join(words), *to_shares(PLAIN)[1:3]]), "".join(text)):
        try:
            assert read_backup(damaged) == PLAIN
        except Refused:
            continue


def test_its_repr_holds_no_secret() -> None:
    assert repr(FULL) == "Recovered()"
