"""Epoch keys out to a backup and back in again."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.team.export import MAX_LEN, epoch_keys, read_epoch_keys
from meshconsole.team.ops import Policy
from tests.team.devices import NOW, founder, join

TEAM = bytes(range(32))


def test_a_newcomer_reads_what_was_sealed_before_it_came() -> None:
    alpha = founder()
    alpha.say(alpha.team.set_policy(Policy("joining"), NOW))
    early = alpha.team.seal_note("before bravo", NOW)
    backup = epoch_keys(alpha.team)
    bravo = join(alpha, "bravo")
    with pytest.raises(Refused):
        bravo.team.open_note(early)
    events = bravo.say(bravo.team.restore_keys(backup, NOW))
    assert len(events) == 1
    assert bravo.team.open_note(early).text == "before bravo"
    assert bravo.restart().open_note(early).text == "before bravo"
    assert bravo.team.restore_keys(backup, NOW) == []
    with pytest.raises(Refused):
        join(alpha, "charlie").team.open_note(early)


def test_a_relay_takes_no_key() -> None:
    alpha = founder()
    with pytest.raises(Refused, match="role holds no key"):
        join(alpha, "hub", "relay").team.restore_keys(epoch_keys(alpha.team), NOW)


def test_keys_that_the_roster_does_not_know_are_left_aside() -> None:
    alpha = founder()
    document = msgspec.json.decode(epoch_keys(alpha.team))
    other = founder()
    document["epochs"] = msgspec.json.decode(epoch_keys(other.team))["epochs"]
    assert alpha.team.restore_keys(msgspec.json.encode(document), NOW) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"team": "00" * 32}, "another team"),
        ({"format": "mc/epochs/v2"}, "of this version"),
        ({"epochs": [{"n": 1, "commit": "00" * 32, "secret": "11" * 32}]}, "damaged"),
        ({"epochs": [{"n": 0, "commit": "00" * 32, "secret": "11" * 32}]}, "no backup"),
        ({"epochs": [{"n": 1, "commit": "00" * 32, "secret": "11"}]}, "no backup"),
        ({"more": 1}, "no backup"),
    ],
)
def test_what_is_no_backup_of_this_team_is_refused_in_words(change: dict[str, object], words: str) -> None:
    alpha = founder()
    document = msgspec.json.decode(epoch_keys(alpha.team)) | change
    with pytest.raises(Refused, match=words):
        alpha.team.restore_keys(msgspec.json.encode(document), NOW)


@given(st.binary() | st.just(b" " * (MAX_LEN + 1)) | st.just(b"[" * 100_000))
def test_any_bytes_are_refused_in_words(data: bytes) -> None:
    with pytest.raises(Refused):
        read_epoch_keys(data, TEAM)
