from __future__ import annotations

import json

import pytest

from meshconsole import __version__
from meshconsole.core.errors import Refused
from meshconsole.core.sections import RelaySection
from meshconsole.relay import nip11
from meshconsole.relay.event import read_event
from meshconsole.relay.nip11 import Face
from tests.relay.making import raw, signed


def test_it_tells_only_true_limits() -> None:
    config = RelaySection(max_subscriptions=3, max_filters=4, max_limit=5, max_event_bytes=2048)
    told = json.loads(nip11.document(config, Face("pi", npub="ab" * 32), public=False))
    assert told["name"] == "pi"
    assert told["pubkey"] == "ab" * 32
    assert told["version"] == __version__
    assert told["supported_nips"] == [1, 9, 11, 17, 40, 42, 45, 50, 59, 62, 65, 67, 70, 77]
    assert told["limitation"] == {
        "max_message_length": 131_072 + len('["EVENT",]'),
        "max_content_length": 2048 - 342,
        "max_subscriptions": 3,
        "max_filters": 4,
        "max_limit": 5,
        "default_limit": 5,
        "max_subid_length": 64,
        "max_event_tags": 5000,
        "min_pow_difficulty": 0,
        "auth_required": True,
        "payment_required": False,
        "restricted_writes": True,
    }


@pytest.mark.parametrize(
    ("config", "number"), [(RelaySection(search=True), 50), (RelaySection(min_pow_difficulty=8), 13)]
)
def test_what_is_switched_off_is_not_announced(config: RelaySection, number: int) -> None:
    assert number in nip11.supported_nips(config, Face("pi"))
    assert number not in nip11.supported_nips(RelaySection(search=False), Face("pi"))


def test_work_and_time_limits_are_told() -> None:
    config = RelaySection(min_pow_difficulty=8, max_future_s=900)
    told = json.loads(nip11.document(config, Face("pi"), public=True))["limitation"]
    assert told["min_pow_difficulty"] == 8
    assert told["created_at_upper_limit"] == 900
    assert told["restricted_writes"] is True


def test_a_message_may_be_as_long_as_the_largest_event() -> None:
    told = json.loads(nip11.document(RelaySection(max_event_bytes=1 << 20), Face("pi"), public=True))
    assert told["limitation"]["max_message_length"] == (1 << 20) + len('["EVENT",]')


def test_the_longest_content_fits_into_the_largest_event_and_no_more_does() -> None:
    told = json.loads(nip11.document(RelaySection(max_event_bytes=2048), Face("pi"), public=True))
    longest = told["limitation"]["max_content_length"]
    assert read_event(raw(signed(content="x" * longest)), 2048)
    with pytest.raises(Refused, match="larger than 2048"):
        read_event(raw(signed(content="x" * (longest + 1))), 2048)


def test_a_relay_that_takes_some_kinds_only_says_that_writing_is_restricted() -> None:
    told = json.loads(nip11.document(RelaySection(), Face("pi", only_kinds=True), public=True))
    assert told["limitation"]["restricted_writes"] is True


def test_a_public_relay_asks_for_nothing() -> None:
    told = json.loads(nip11.document(RelaySection(), Face("pi"), public=True))
    assert told["limitation"]["auth_required"] is False
    assert told["limitation"]["restricted_writes"] is False
    assert "pubkey" not in told


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/nostr+json", True),
        ("text/html, Application/Nostr+JSON;q=0.9", True),
        ("*/*", False),
        ("", False),
        ("application/nostr+json-rpc", False),
    ],
)
def test_who_wants_it(accept: str, *, expected: bool) -> None:
    assert nip11.wants_document(accept) is expected
