"""Messages between two devices: who opens them, and what everybody else gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, encode_event
from meshconsole.core.kinds import DIRECT_MESSAGE, TEAM_NOTE, TEXT_NOTE
from meshconsole.crypto.encoding import b64, unb64
from meshconsole.crypto.sealing import pad, seal
from meshconsole.crypto.suites import MC1, MC2, Suite
from meshconsole.team import direct
from meshconsole.team.direct import SECRET_LEN, recipient_of, seal_direct
from meshconsole.team.epochs import EpochKey
from meshconsole.team.notes import MAX_NOTE_BYTES
from meshconsole.team.sealed import MAX_SEALED_TEXT, seal_event, team_tags
from tests.team.devices import NOW, Device, founder, identity, join, sync
from tests.team.test_state import World

if TYPE_CHECKING:
    from meshconsole.team.state import Team


@pytest.fixture
def alpha() -> Device:
    return founder()


@pytest.fixture
def bravo(alpha: Device) -> Device:
    return join(alpha, "bravo")


@pytest.fixture
def charlie(alpha: Device, bravo: Device) -> Device:
    made = join(alpha, "charlie")
    sync(alpha, bravo)
    return made


def epoch_of(device: Device) -> EpochKey:
    return device.team.keys.held(device.team._writing())


def text_of(device: Device, event: Event) -> str | None:
    opened = device.team.open_direct(event)
    return opened.text if opened is not None else None


def resigned(author: Device, event: Event, content: str, to: str) -> Event:
    """What `author` could make of the content, addressed as it should be."""
    tags = direct._outer_tags(epoch_of(author), author.npub, to, content)
    return author.me.sign(DIRECT_MESSAGE, tags, content, event.created_at)


# --- The two who are meant --------------------------------------------------------------------------


@pytest.mark.parametrize("suite", [MC1, MC2])
def test_recipient_and_sender_read_it_and_see_who_from_and_to(suite: Suite) -> None:
    world = World(suite)
    world.found()
    bravo = world.admit("bravo")
    event = world.teams["alpha"].seal_direct(world.identities["bravo"].npub, "at the ford, 0400", NOW)
    for team in (bravo, world.teams["alpha"]):
        opened = team.open_direct(event)
        assert opened is not None
        assert (opened.name, opened.recipient_name, opened.text) == ("alpha", "bravo", "at the ford, 0400")
        assert (opened.created_at, opened.author_removed) == (NOW, False)


def test_both_read_it_after_a_restart_and_after_the_key_was_turned(alpha: Device, bravo: Device) -> None:
    event = alpha.team.seal_direct(bravo.npub, "before", NOW)
    alpha.say(alpha.team.rotate(NOW))
    sync(alpha, bravo)
    for device in (alpha, bravo):
        device.restart()
        assert text_of(device, event) == "before"


def test_outside_are_the_author_and_nothing_that_names_the_recipient(alpha: Device, bravo: Device) -> None:
    first = alpha.team.seal_direct(bravo.npub, "one", NOW)
    second = alpha.team.seal_direct(bravo.npub, "two", NOW)
    raw = encode_event(first).decode()
    assert first.pubkey == alpha.npub
    assert [tag[0] for tag in first.tags] == ["h", "k", "to"]
    assert bravo.npub not in raw
    assert bravo.me.bundle_hash.hex() not in raw
    assert first.tag("to") != second.tag("to"), "two messages to one device look unrelated"


def test_short_messages_look_alike(alpha: Device, bravo: Device) -> None:
    sizes = {len(alpha.team.seal_direct(bravo.npub, "x" * n, NOW).content) for n in (1, 100, 400)}
    assert len(sizes) == 1


@pytest.mark.parametrize("text", ["", " \n", "x" * (MAX_NOTE_BYTES + 1), "\ud800", "\x01" * MAX_NOTE_BYTES])
def test_what_is_no_message_is_refused(alpha: Device, bravo: Device, text: str) -> None:
    with pytest.raises(Refused):
        alpha.team.seal_direct(bravo.npub, text, NOW)


def test_it_goes_to_another_device_of_the_team_that_reads(alpha: Device, bravo: Device) -> None:
    pi, watch = join(alpha, "pi", "relay"), join(alpha, "watch", "observer")
    for npub in (alpha.npub, pi.npub, identity().npub):
        with pytest.raises(Refused):
            alpha.team.seal_direct(npub, "hello", NOW)
    assert text_of(watch, alpha.team.seal_direct(watch.npub, "hello", NOW)) == "hello"
    with pytest.raises(Refused, match="reads only"):
        watch.team.seal_direct(bravo.npub, "hello", NOW)


# --- Everybody else ---------------------------------------------------------------------------------


def test_a_third_member_learns_only_that_it_is_not_his(alpha: Device, bravo: Device, charlie: Device) -> None:
    event = alpha.team.seal_direct(bravo.npub, "not for charlie", NOW)
    assert charlie.team.open_direct(event) is None
    for recipient in (bravo.npub, charlie.npub):
        with pytest.raises(Refused, match="does not open"):
            direct.open_direct(charlie.me, event, epoch_of(charlie), recipient)


def test_a_relay_and_a_stranger_to_the_epoch_open_nothing(alpha: Device, bravo: Device) -> None:
    pi = join(alpha, "pi", "relay")
    event = alpha.team.seal_direct(bravo.npub, "sealed", NOW)
    with pytest.raises(Refused, match="no key"):
        pi.team.open_direct(event)
    other = EpochKey.fresh(alpha.team.team_id, 1)
    assert recipient_of(event, other, [bravo.npub]) is None
    with pytest.raises(Refused, match="does not open"):
        direct.open_direct(bravo.me, event, other, bravo.npub)


def test_the_boxs_key_needs_the_epochs_and_each_wrap_names_its_device(alpha: Device, bravo: Device) -> None:
    epoch, secret = epoch_of(alpha), bytes(SECRET_LEN)
    other = EpochKey(epoch.team, epoch.n, bytes(32))
    assert direct._key(epoch, secret) != direct._key(other, secret)
    infos = {direct._info(epoch, alpha.npub, bravo.npub, device.me.bundle) for device in (alpha, bravo)}
    assert len(infos) == 2


def test_it_is_not_passed_on_to_another_recipient(alpha: Device, bravo: Device, charlie: Device) -> None:
    """By the recipient, who knows what is inside, or by a third one, who does not."""
    event = alpha.team.seal_direct(bravo.npub, "only you", NOW)
    epoch = epoch_of(bravo)
    inner = direct.open_direct(bravo.me, event, epoch, bravo.npub)
    for thief in (bravo, charlie):
        moved = resigned(thief, event, event.content, charlie.npub if thief is bravo else bravo.npub)
        reader = charlie if thief is bravo else bravo
        with pytest.raises(Refused, match="does not open"):
            reader.team.open_direct(moved)
    resealed = sealed_by(bravo, charlie, inner, NOW)
    with pytest.raises(Refused, match="another hand"):
        charlie.team.open_direct(resealed)


def sealed_by(author: Device, to: Device, inner: Event, now: int) -> Event:
    """The outside as it should be, around any event at all."""
    epoch, secret = epoch_of(author), bytes(range(SECRET_LEN))
    wraps = b"".join(
        author.me.provider.hpke_seal(
            MC1, device.me.kem_public, direct._info(epoch, author.npub, to.npub, device.me.bundle), secret
        )
        for device in (to, author)
    )
    context = direct._context(epoch, author.npub, to.npub)
    content = b64(wraps + seal(direct._key(epoch, secret), context, pad(encode_event(inner))))
    return author.me.sign(
        DIRECT_MESSAGE, direct._outer_tags(epoch, author.npub, to.npub, content), content, now
    )


def test_what_is_inside_must_be_signed_for_this_team_device_kind_and_moment(
    alpha: Device, bravo: Device, charlie: Device
) -> None:
    team = alpha.team.team_id
    good = (*team_tags(team), ("to", bravo.npub))
    honest = alpha.me.sign(DIRECT_MESSAGE, good, "yes", NOW)
    assert text_of(bravo, sealed_by(alpha, bravo, honest, NOW)) == "yes"
    for inner in (
        alpha.me.sign(DIRECT_MESSAGE, (*team_tags(bytes(32)), ("to", bravo.npub)), "yes", NOW),
        alpha.me.sign(DIRECT_MESSAGE, (*team_tags(team), ("to", charlie.npub)), "yes", NOW),
        alpha.me.sign(DIRECT_MESSAGE, team_tags(team), "yes", NOW),
        alpha.me.sign(TEXT_NOTE, good, "yes", NOW),
        alpha.me.sign(DIRECT_MESSAGE, good, "yes", NOW - 1),
        charlie.me.sign(DIRECT_MESSAGE, good, "yes", NOW),
    ):
        with pytest.raises(Refused, match="another hand"):
            bravo.team.open_direct(sealed_by(alpha, bravo, inner, NOW))
    forged = Event(honest.id, honest.pubkey, NOW, DIRECT_MESSAGE, good, "no", honest.sig)
    with pytest.raises(Refused, match="signature"):
        bravo.team.open_direct(sealed_by(alpha, bravo, forged, NOW))


def test_a_note_is_no_message_and_a_message_no_note(alpha: Device, bravo: Device) -> None:
    event, epoch = alpha.team.seal_direct(bravo.npub, "between us", NOW), epoch_of(alpha)
    with pytest.raises(Refused):
        bravo.team.open_note(event)
    assert bravo.team.open_direct(alpha.team.seal_note("to all", NOW)) is None
    inner = direct.open_direct(bravo.me, event, epoch, bravo.npub)
    with pytest.raises(Refused, match="another hand"):
        bravo.team.open_note(seal_event(alpha.me, epoch, inner, TEAM_NOTE))


def test_the_senders_copy_is_no_message_to_the_sender(alpha: Device, bravo: Device) -> None:
    """Bravo turns the two wraps around and sends alpha its own words back."""
    event = alpha.team.seal_direct(bravo.npub, "promise", NOW)
    sealed, wrap = unb64(event.content), MC1.wrap_overhead + SECRET_LEN
    turned = b64(sealed[wrap : 2 * wrap] + sealed[:wrap] + sealed[2 * wrap :])
    with pytest.raises(Refused, match="does not open"):
        alpha.team.open_direct(resigned(bravo, event, turned, alpha.npub))


def test_every_changed_byte_is_noticed(alpha: Device, bravo: Device) -> None:
    event = alpha.team.seal_direct(bravo.npub, "hold", NOW)
    sealed, wrap = unb64(event.content), MC1.wrap_overhead + SECRET_LEN
    assert bravo.team.open_direct(resigned(alpha, event, event.content, bravo.npub)) is not None
    own_copy = range(wrap, 2 * wrap)
    for at in [*range(0, len(sealed), 97), wrap - 1, 2 * wrap, len(sealed) - 1]:
        changed = resigned(alpha, event, b64(flipped(sealed, at)), bravo.npub)
        reader = alpha if at in own_copy else bravo
        with pytest.raises(Refused, match="does not open"):
            reader.team.open_direct(changed)
    for tag in range(3):
        tags = [list(pair) for pair in event.tags]
        tags[tag][1] = tags[tag][1][::-1]
        moved = alpha.me.sign(DIRECT_MESSAGE, tuple(map(tuple, tags)), event.content, NOW)
        assert not opens(bravo.team, moved)
    assert not opens(bravo.team, alpha.me.sign(DIRECT_MESSAGE, (*event.tags, ("x",)), event.content, NOW))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def opens(team: Team, event: Event) -> bool:
    try:
        return team.open_direct(event) is not None
    except Refused:
        return False


def test_hostile_lengths_cost_nothing_and_are_refused(alpha: Device, bravo: Device) -> None:
    event = alpha.team.seal_direct(bravo.npub, "hold", NOW)
    sealed = unb64(event.content)
    contents = ["", "A", "=", "\ud7ff" * 5000, "A" * (MAX_SEALED_TEXT + 4)]
    contents += [b64(sealed[:n]) for n in (1, 1120, 1168, 2336, 2392, 2408, len(sealed) - 1)]
    contents += [b64(sealed + b"\0"), b64(sealed[:2336] + bytes(60_000))]
    for content in contents:
        with pytest.raises(Refused):
            bravo.team.open_direct(resigned(alpha, event, content, bravo.npub))


DEVICES = founder()
OTHER = join(DEVICES, "bravo")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=4000) | st.text(max_size=200), st.booleans())
def test_any_content_is_refused_and_nothing_else_happens(content: bytes | str, own: bool) -> None:
    text = b64(content) if isinstance(content, bytes) else content
    author, to = (OTHER, DEVICES) if own else (DEVICES, OTHER)
    event = author.me.sign(DIRECT_MESSAGE, (), "x", NOW)
    with pytest.raises(Refused):
        OTHER.team.open_direct(resigned(author, event, text, to.npub))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=2500))
def test_any_bytes_inside_are_refused(plain: bytes) -> None:
    """From a teammate, who knows every key: what is sealed is no event at all."""
    epoch, secret = epoch_of(DEVICES), bytes(SECRET_LEN)
    info = direct._info(epoch, DEVICES.npub, OTHER.npub, OTHER.me.bundle)
    wrap = DEVICES.me.provider.hpke_seal(MC1, OTHER.me.kem_public, info, secret)
    box = seal(direct._key(epoch, secret), direct._context(epoch, DEVICES.npub, OTHER.npub), pad(plain))
    content = b64(wrap + bytes(len(wrap)) + box)
    event = DEVICES.me.sign(DIRECT_MESSAGE, (), "x", NOW)
    with pytest.raises(Refused, match="does not open"):
        OTHER.team.open_direct(resigned(DEVICES, event, content, OTHER.npub))


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=2000).filter(str.strip))
def test_any_text_comes_through(text: str) -> None:
    assert text_of(OTHER, DEVICES.team.seal_direct(OTHER.npub, text, NOW)) == text


# --- Removed devices --------------------------------------------------------------------------------


def test_a_removed_device_writes_nothing_that_is_shown_as_a_teammates(
    alpha: Device, bravo: Device, charlie: Device
) -> None:
    old_epoch = epoch_of(bravo)
    before = bravo.team.seal_direct(charlie.npub, "while I belonged", NOW)
    alpha.say(alpha.team.remove(bravo.npub, NOW))
    sync(alpha, bravo, charlie)
    with pytest.raises(Refused):
        bravo.team.seal_direct(charlie.npub, "I never left", NOW)
    later = seal_direct(bravo.me, charlie.me.bundle, old_epoch, "I never left", NOW)
    for event in (before, later):
        opened = charlie.team.open_direct(event)
        assert opened is not None
        assert opened.author_removed, "nobody can tell which of them was written before"
    # Under the new epoch, whose key it was not given, it cannot write at all; with a stolen key it may not.
    stolen = seal_direct(bravo.me, charlie.me.bundle, epoch_of(alpha), "I never left", NOW)
    with pytest.raises(Refused, match="may not write"):
        charlie.team.open_direct(stolen)
    guessed = EpochKey(alpha.team.team_id, epoch_of(alpha).n, bytes(32))
    with pytest.raises(Refused, match="no key"):
        charlie.team.open_direct(seal_direct(bravo.me, charlie.me.bundle, guessed, "hi", NOW))


def test_a_removed_device_is_written_to_no_more_and_opens_nothing_new(
    alpha: Device, bravo: Device, charlie: Device
) -> None:
    alpha.say(alpha.team.remove(bravo.npub, NOW))
    sync(alpha, bravo, charlie)
    with pytest.raises(Refused, match="No device"):
        charlie.team.seal_direct(bravo.npub, "still there?", NOW)
    with pytest.raises(Refused, match="no key"):
        bravo.team.open_direct(alpha.team.seal_direct(charlie.npub, "he is gone", NOW))


def test_an_observer_who_forges_a_message_is_refused(alpha: Device, bravo: Device) -> None:
    watch = join(alpha, "watch", "observer")
    forged = seal_direct(watch.me, bravo.me.bundle, epoch_of(alpha), "I may only read", NOW)
    sync(alpha, bravo)
    with pytest.raises(Refused, match="may not write"):
        bravo.team.open_direct(forged)
