"""Messages to and from plain Nostr clients: what is in a wrap, and what strangers put into one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, encode_event, event_id
from meshconsole.core.kinds import CHAT_MESSAGE, GIFT_WRAP, SEAL, TEXT_NOTE
from meshconsole.crypto.nip44 import conversation_key, decrypt, encrypt
from meshconsole.crypto.schnorr import sign_event, verify_event
from meshconsole.team.notes import MAX_NOTE_BYTES
from meshconsole.team.ops import Policy
from meshconsole.team.plain import BACKDATED_S, is_addressed, open_message, wrap_message
from tests.team.devices import NOW, Device, founder, identity, join

if TYPE_CHECKING:
    from meshconsole.crypto.identity import Identity

ME, PHONE = identity(), identity()
ONCE = bytes([7]) * 32


def rumor(**changed: object) -> dict[str, object]:
    made: dict[str, object] = {
        "pubkey": PHONE.npub,
        "created_at": NOW,
        "kind": CHAT_MESSAGE,
        "tags": [["p", ME.npub]],
        "content": "hello",
    }
    return made | changed


def sealed(
    inside: str, author: Identity = PHONE, kind: int = SEAL, tags: tuple[tuple[str, ...], ...] = ()
) -> Event:
    return author.sign(kind, tags, encrypt(author.plain_key(ME.npub), inside), NOW)


def wrapped(inside: str) -> Event:
    return sign_event(
        ONCE, GIFT_WRAP, (("p", ME.npub),), encrypt(conversation_key(ONCE, ME.npub), inside), NOW
    )


def around(seal: Event) -> Event:
    return wrapped(encode_event(seal).decode())


def from_phone(**changed: object) -> Event:
    return around(sealed(json.dumps(rumor(**changed))))


def test_reader_and_author_each_open_their_own_wrap() -> None:
    theirs, mine = wrap_message(ME, PHONE.npub, "at the ford", NOW)
    for reader, event in ((PHONE, theirs), (ME, mine)):
        opened = open_message(reader, event)
        assert (opened.author, opened.recipients) == (ME.npub, (PHONE.npub,))
        assert (opened.text, opened.created_at) == ("at the ford", NOW)
    for reader, event in ((PHONE, mine), (ME, theirs), (identity(), theirs)):
        with pytest.raises(Refused, match="somebody else"):
            open_message(reader, event)


def test_a_wrap_shows_its_reader_and_nothing_of_its_author() -> None:
    for event in wrap_message(ME, PHONE.npub, "at the ford", NOW):
        assert verify_event(event)
        assert event.kind == GIFT_WRAP
        assert event.pubkey != ME.npub
    first, second = (wrap_message(ME, PHONE.npub, "x", NOW)[0] for _ in range(2))
    assert first.pubkey != second.pubkey, "each wrap has a key of its own"
    assert ME.npub not in encode_event(first).decode()


def test_seal_and_wrap_are_dated_up_to_two_days_back() -> None:
    times: set[int] = set()
    for _ in range(30):
        theirs, mine = wrap_message(ME, PHONE.npub, "x", NOW)
        for reader, event in ((PHONE, theirs), (ME, mine)):
            seal = msgspec.json.decode(decrypt(reader.plain_key(event.pubkey), event.content), type=Event)
            times |= {event.created_at, seal.created_at}
            assert (seal.kind, seal.tags, seal.pubkey) == (SEAL, (), ME.npub)
    assert all(NOW - BACKDATED_S < at <= NOW for at in times)
    assert len(times) > 100
    assert max(times) - min(times) > BACKDATED_S // 2


@pytest.mark.parametrize("text", ["", " ", "\ud800", "x" * (MAX_NOTE_BYTES + 1), "\x01" * MAX_NOTE_BYTES])
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        wrap_message(ME, PHONE.npub, text, NOW)
    longest = "\N{GRINNING FACE}" * (MAX_NOTE_BYTES // 4)
    assert open_message(PHONE, wrap_message(ME, PHONE.npub, longest, NOW)[0]).text == longest


def test_a_key_that_is_no_point_is_refused() -> None:
    with pytest.raises(Refused, match="public key"):
        wrap_message(ME, "ff" * 32, "x", NOW)


# --- From strangers ---------------------------------------------------------------------------------


def test_nobody_speaks_in_anothers_name() -> None:
    assert open_message(ME, from_phone()).text == "hello"
    with pytest.raises(Refused, match="another author"):
        open_message(ME, from_phone(pubkey=ME.npub))
    with pytest.raises(Refused, match="another author"):
        open_message(ME, from_phone(pubkey=identity().npub))


def test_a_seal_is_signed_has_no_tags_and_is_a_seal() -> None:
    inside = json.dumps(rumor())
    good = sealed(inside)
    forged = msgspec.structs.replace(good, sig="00" * 64)
    for seal in (forged, sealed(inside, kind=TEXT_NOTE), sealed(inside, tags=(("p", ME.npub),))):
        with pytest.raises(Refused, match="no seal"):
            open_message(ME, around(seal))


def test_another_kind_is_named_and_not_shown() -> None:
    with pytest.raises(Refused, match="kind 15"):
        open_message(ME, from_phone(kind=15))


def test_what_was_written_to_somebody_else_is_refused() -> None:
    for tags in ([], [["p", identity().npub]], [["p"]], [["e", ME.npub]]):
        with pytest.raises(Refused, match="somebody else"):
            open_message(ME, from_phone(tags=tags))
    group = [["p", ME.npub], ["p", PHONE.npub], ["p", ME.npub], ["p", "short"]]
    assert open_message(ME, from_phone(tags=group)).recipients == (ME.npub, PHONE.npub)


def test_an_id_may_be_left_out_and_may_not_lie() -> None:
    digest = event_id(PHONE.npub, NOW, CHAT_MESSAGE, (("p", ME.npub),), "hello").hex()
    assert open_message(ME, from_phone(id=digest)).text == "hello"
    with pytest.raises(Refused, match="id"):
        open_message(ME, from_phone(id="00" * 32))


STRANGE = [
    "",
    "null",
    "[]",
    "{}",
    "[" * 20_000,
    '{"tags":' + "[" * 20_000,
    json.dumps(rumor(created_at=-1)),
    json.dumps(rumor(created_at=1 << 60)),
    json.dumps(rumor(created_at=1.5)),
    json.dumps(rumor(kind="14")),
    json.dumps(rumor(tags=[[1]])),
    json.dumps(rumor(content=None)),
]


@pytest.mark.parametrize("inside", [text for text in STRANGE if text])
def test_strange_rumors_and_seals_are_refused(inside: str) -> None:
    for event in (around(sealed(inside)), wrapped(inside)):
        with pytest.raises(Refused, match="does not open"):
            open_message(ME, event)


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=300), st.integers(0, 2))
def test_any_text_in_any_layer_is_refused(text: str, layer: int) -> None:
    raw = sign_event(ONCE, GIFT_WRAP, (("p", ME.npub),), text, NOW)
    event = (raw, wrapped(text), around(sealed(text)))[layer]
    with pytest.raises(Refused):
        open_message(ME, event)


def test_a_wrap_is_addressed_by_its_tag() -> None:
    event = from_phone()
    assert is_addressed(event, ME.npub)
    assert not is_addressed(event, PHONE.npub)
    assert not is_addressed(ME.sign(TEXT_NOTE, (("p", ME.npub),), "", NOW), ME.npub)


# --- In a team --------------------------------------------------------------------------------------


@pytest.fixture
def alpha() -> Device:
    return founder()


def test_a_team_sends_none_until_an_admin_allows_it(alpha: Device) -> None:
    with pytest.raises(Refused, match="plain_messages is off"):
        alpha.team.wrap_plain(PHONE.npub, "hello", NOW)
    alpha.team.set_policy(Policy(plain_messages=True), NOW)
    theirs, _ = alpha.team.wrap_plain(PHONE.npub, "hello", NOW)
    assert open_message(PHONE, theirs).author == alpha.npub
    alpha.team.set_policy(Policy(plain_messages=False), NOW)
    with pytest.raises(Refused, match="plain_messages is off"):
        alpha.team.wrap_plain(PHONE.npub, "hello", NOW)


def test_a_teammate_is_never_written_to_in_the_weaker_way(alpha: Device) -> None:
    bravo, watch = join(alpha, "bravo"), join(alpha, "watch", "observer")
    allowed = alpha.team.set_policy(Policy(plain_messages=True), NOW)
    for device in (bravo, watch):
        with pytest.raises(Refused, match="device of the team"):
            alpha.team.wrap_plain(device.npub, "hello", NOW)
        for event in allowed:
            device.team.accept(event)
    with pytest.raises(Refused, match="reads only"):
        watch.team.wrap_plain(PHONE.npub, "hello", NOW)
