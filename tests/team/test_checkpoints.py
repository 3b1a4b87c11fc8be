"""What a device vouches for: the tree over event ids, and both signatures."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.team.checkpoints import (
    MAX_CONTENT,
    Checkpoint,
    merkle_root,
    needless,
    read_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from tests.team.devices import NOW, PROVIDER, founder, identity

numbers = st.dictionaries(st.integers(1, 300), st.sets(st.sampled_from("abcd"), min_size=1), min_size=1)

GOOD = Checkpoint(1, 3, 17, "ab" * 32, "log", 120, 40, "cd" * 32)


def as_the_rfc_says(ids: list[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, word for word."""
    if not ids:
        return sha256(b"").digest()
    if len(ids) == 1:
        return sha256(b"\0" + ids[0]).digest()
    k = 1
    while 2 * k < len(ids):
        k *= 2
    return sha256(b"\1" + as_the_rfc_says(ids[:k]) + as_the_rfc_says(ids[k:])).digest()


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_the_root_is_that_of_the_rfc(ids: list[bytes]) -> None:
    assert merkle_root(ids) == as_the_rfc_says(ids)


def test_a_checkpoint_comes_back_as_it_was_signed() -> None:
    me = identity()
    event = sign_checkpoint(me, GOOD, NOW)
    assert verify_checkpoint(event, me.bundle, PROVIDER) == GOOD


def test_another_device_cannot_have_signed_it() -> None:
    event = sign_checkpoint(identity(), GOOD, NOW)
    with pytest.raises(Refused):
        verify_checkpoint(event, identity().bundle, PROVIDER)


def test_a_changed_one_is_refused() -> None:
    me = identity()
    event = sign_checkpoint(me, GOOD, NOW)
    other = msgspec.structs.replace(event, content=event.content.replace('"n":3', '"n":4'))
    with pytest.raises(Refused):
        verify_checkpoint(other, me.bundle, PROVIDER)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        msgspec.json.encode(GOOD).decode().replace('"v":1', '"v":2'),
        msgspec.json.encode(GOOD).decode().replace('"n":3', '"n":0'),
        msgspec.json.encode(GOOD).decode().replace('"n":3', '"n":1e99'),
        msgspec.json.encode(GOOD).decode()[:-1] + ',"more":1}',
        "[" * (MAX_CONTENT + 1),
        "\ud800",
    ],
)
def test_what_is_no_checkpoint_is_refused_in_words(content: str) -> None:
    event = sign_checkpoint(identity(), GOOD, NOW)
    with pytest.raises(Refused, match="not a checkpoint"):
        read_checkpoint(msgspec.structs.replace(event, content=content))


def test_a_team_takes_checkpoints_like_any_control_event() -> None:
    alpha = founder()
    assert alpha.team.accept(sign_checkpoint(alpha.me, GOOD, NOW)).accepted
    broken = alpha.me.sign(4204, (), "{}", NOW)
    assert not alpha.team.accept(broken).accepted


def kept(held: dict[int, set[str]]) -> dict[int, set[str]]:
    gone = needless({n: {f"{n}{each}" for each in ids} for n, ids in held.items()})
    left = {n: {each for each in ids if f"{n}{each}" not in gone} for n, ids in held.items()}
    return {n: ids for n, ids in left.items() if ids}


@given(numbers, numbers)
def test_the_same_checkpoints_are_kept_in_whatever_order_they_come(
    some: dict[int, set[str]], others: dict[int, set[str]]
) -> None:
    both = {n: some.get(n, set()) | others.get(n, set()) for n in some.keys() | others.keys()}
    tidied = kept(some)
    late = {n: tidied.get(n, set()) | others.get(n, set()) for n in tidied.keys() | others.keys()}
    assert kept(late) == kept(both)


@given(st.integers(0, 400), st.integers(1, 400), st.integers(0, 400))
def test_a_set_back_stays_provable_until_as_much_again_is_signed(stands: int, lost: int, more: int) -> None:
    """Of the checkpoints that were lost with the day before yesterday, somebody still holds one."""
    newest = stands + lost
    signed_since = min(more, lost - 1)
    left = kept({n: {"a"} for n in range(1, newest + signed_since + 1)})
    assert any(stands < n <= newest for n in left)


def test_however_many_are_signed_few_are_kept() -> None:
    held: dict[int, set[str]] = {}
    for n in range(1, 20_000):  # four a day for thirteen years
        held = kept({**held, n: {"a"}}) if n % 16 == 0 else {**held, n: {"a"}}
    assert len(kept(held)) < 40
    assert kept({7: set("abcd")}) == {7: set("ab")}
    assert kept({n: {"a"} for n in (1, 1 << 52, (1 << 53) - 1)}) == {1 << 52: {"a"}, (1 << 53) - 1: {"a"}}
