"""The events that people see: opened where they may be, with names for keys and ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.core import kinds
from meshconsole.core.errors import Refused
from meshconsole.core.event import encode_event
from meshconsole.core.kinds import GIFT_WRAP
from meshconsole.core.verdict import ACCEPTED, refuse
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.schnorr import sign_event
from meshconsole.crypto.suites import MC1
from meshconsole.node.recent import MAX_UNOPENED_WRAPS, OTHERS_CAPACITY, STRANGERS_TEXT, RecentEvents
from meshconsole.team.direct import seal_direct
from meshconsole.team.notes import seal_note
from meshconsole.team.ops import Policy
from meshconsole.team.plain import wrap_message
from meshconsole.team.state import Team

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.core.status import EventView

NOW = 1_800_000_000
ME = Identity(bytes([1]) * 32, MC1, default_provider())


@pytest.fixture
def team() -> Team:
    made, _ = Team.found(ME, "Falcon", "alpha", NOW, default_provider())
    return made


def shown(recent: RecentEvents, event: Event, via: str = "local", seq: int = 1) -> EventView:
    verdict = ACCEPTED if seq else refuse("invalid", "the signature is wrong")
    return recent.add(event, seq=seq, received_at=NOW, size=100, via=via, verdict=verdict)


def test_a_team_note_is_opened_and_named(team: Team) -> None:
    view = shown(RecentEvents(lambda: team, ME), team.seal_note("at the ridge", NOW))
    assert (view.author, view.words, view.text, view.sealed) == ("alpha", "team note", "at the ridge", True)
    assert (view.via, view.verdict) == ("this device", "stored")


def test_a_signal_is_told_in_words(team: Team) -> None:
    signal = sign_event(bytes([2]) * 32, kinds.SIGNAL, (), "80UbwttbgyA=", NOW)
    assert "data channel" in shown(RecentEvents(lambda: team, ME), signal).text


def test_what_a_guest_writes_is_told_from_what_a_member_does(team: Team) -> None:
    recent = RecentEvents(lambda: team, ME)
    room = (("h", "guests"), ("name", "alpha"))
    note = shown(recent, sign_event(bytes([2]) * 32, 1, room, "hello", NOW), "guest alpha")
    assert (note.author, note.words, note.via, note.sealed) == (
        "guest alpha",
        "guest's note",
        "guest alpha",
        False,
    )
    ours = shown(recent, ME.sign(1, room, "welcome", NOW))
    assert (ours.author, ours.words) == ("alpha", "note to guests")
    elsewhere = shown(recent, sign_event(bytes([2]) * 32, 1, (), "hello", NOW))
    assert (elsewhere.author, elsewhere.words) == (elsewhere.npub[:8], "note")
    nameless = shown(recent, sign_event(bytes([2]) * 32, 1, room[:1], "hello", NOW))
    assert nameless.author == f"guest {nameless.npub[:8]}"


def test_without_the_key_it_says_so(team: Team) -> None:
    view = shown(RecentEvents(lambda: None, ME), team.seal_note("at the ridge", NOW))
    assert "no key" in view.text
    assert "ridge" not in view.text


def test_what_this_relay_tells_of_its_members_bears_its_name_and_nobody_elses_does(team: Team) -> None:
    recent = RecentEvents(lambda: team, ME)
    told = sign_event(bytes([2]) * 32, kinds.MEMBERS, (("-",),), "", NOW)
    assert shown(recent, told).author == "this relay"
    assert shown(recent, told, via="").author == "this relay"  # read from the store at a start
    assert shown(recent, told, via="client 192.0.2.1", seq=0).author == told.pubkey[:8]


def test_the_way_is_told_by_name(team: Team) -> None:
    recent = RecentEvents(lambda: team, ME)
    note = sign_event(bytes([2]) * 32, 1, (), "hello", NOW)
    assert shown(recent, note, via=f"link {ME.npub}").via == "alpha"
    assert shown(recent, note, via="client 192.0.2.1").via == "client 192.0.2.1"


def test_refused_events_are_kept_with_the_reason(team: Team) -> None:
    recent = RecentEvents(lambda: team, ME)
    shown(recent, sign_event(bytes([2]) * 32, 1, (), "bad", NOW), seq=0)
    (view,) = recent.newest(10)
    assert not view.accepted
    assert view.verdict == "invalid: the signature is wrong"


def test_the_filter_keeps_and_inverts(team: Team) -> None:
    recent = RecentEvents(lambda: team, ME)
    for text in ("red", "green", "blue"):
        shown(recent, team.seal_note(text, NOW))
    assert [view.text for view in recent.newest(10, "GREEN")] == ["green"]
    assert [view.text for view in recent.newest(10, "!green")] == ["red", "blue"]
    assert [view.text for view in recent.newest(2)] == ["green", "blue"]


def test_strangers_cannot_push_the_teams_notes_out_of_sight(team: Team) -> None:
    recent = RecentEvents(lambda: team, ME)
    shown(recent, team.seal_note("at the ridge", NOW))
    for number in range(3000):
        shown(recent, sign_event(bytes([2]) * 32, 1, (), str(number), NOW), seq=number % 2)
    texts = [view.text for view in recent.newest(5000)]
    assert "at the ridge" in texts
    assert "2999" in texts
    assert len(texts) < 1000


def test_an_answer_is_bounded_in_bytes_and_cut_text_says_so(team: Team) -> None:
    recent = RecentEvents(lambda: team, ME)
    for _ in range(600):
        shown(recent, team.seal_note("\N{GRINNING FACE}" * 4000, NOW))
    assert len(msgspec.msgpack.encode(recent.newest(5000))) < 8 << 20
    cut = shown(recent, sign_event(bytes([2]) * 32, 1, (), "x" * 5000, NOW)).text
    assert cut.endswith("…")
    assert len(cut) < 2000


def test_what_came_before_its_key_is_opened_when_the_key_comes(team: Team) -> None:
    known: list[Team] = []
    recent = RecentEvents(lambda: known[0] if known else None, ME)
    shown(recent, team.seal_note("early", NOW))
    assert recent.reopen() == []
    known.append(team)
    assert [view.text for view in recent.reopen()] == ["early"]
    assert [view.text for view in recent.newest(5)] == ["early"]
    assert recent.reopen() == []


def test_what_nobody_saw_is_there_when_somebody_looks(team: Team) -> None:
    recent = RecentEvents(lambda: team, ME)
    first = sign_event(bytes([2]) * 32, 1, (), "first", NOW)
    assert recent.add_unseen(first, encode_event(first), 1, NOW, "client 192.0.2.1")
    shown(recent, sign_event(bytes([2]) * 32, 1, (), "bad", NOW), seq=0)
    for number in range(OTHERS_CAPACITY + 5):
        later = sign_event(bytes([2]) * 32, 1, (), f"later {number}", NOW)
        assert recent.add_unseen(later, encode_event(later), 2 + number, NOW, f"link {ME.npub}")
    views = recent.newest(2_000)
    assert [view.text for view in views[:2]] == ["bad", "later 5"]
    assert [view.text for view in views[-2:]] == [f"later {OTHERS_CAPACITY + n}" for n in (3, 4)]
    assert views[-1].via == "alpha"
    assert views[-1].verdict == "stored"


def test_what_is_large_or_the_teams_is_not_kept_for_later(team: Team) -> None:
    recent = RecentEvents(lambda: team, ME)
    large = sign_event(bytes([2]) * 32, 1, (), "x" * (STRANGERS_TEXT + 1), NOW)
    for event in (large, team.seal_note("at the ridge", NOW)):
        assert not recent.add_unseen(event, encode_event(event), 1, NOW, "local")
    assert recent.newest(10) == ()


def test_a_message_to_one_device_says_who_from_and_to(team: Team) -> None:
    bravo = Identity(bytes([2]) * 32, MC1, default_provider())
    events = [*team.control_events(), *team.admit(bravo.bundle_event(NOW), "bravo", "member", NOW)]
    theirs = Team.load(bravo, events, default_provider())
    assert theirs is not None
    message = team.seal_direct(bravo.npub, "at the ford", NOW)
    for recent in (RecentEvents(lambda: team, ME), RecentEvents(lambda: theirs, bravo)):
        view = shown(recent, message)
        assert (view.author, view.to, view.text, view.words) == ("alpha", "bravo", "at the ford", "direct")
        assert (view.line, view.sealed) == ("to bravo: at the ford", True)
    for event in team.remove(bravo.npub, NOW):
        theirs.accept(event)
    with pytest.raises(Refused):
        theirs.seal_direct(ME.npub, "I never left", NOW)
    late = seal_direct(bravo, ME.bundle, theirs.epochs_held()[0], "I never left", NOW)
    note = seal_note(bravo, theirs.epochs_held()[0], "I never left", NOW)
    for event in (late, note):
        assert shown(RecentEvents(lambda: team, ME), event).author == "bravo (removed)"


def test_what_was_opened_before_its_author_was_removed_is_marked_too(team: Team) -> None:
    bravo = Identity(bytes([2]) * 32, MC1, default_provider())
    team.admit(bravo.bundle_event(NOW), "bravo", "member", NOW)
    recent = RecentEvents(lambda: team, ME)
    assert shown(recent, seal_note(bravo, team.epochs_held()[0], "good so far", NOW)).author == "bravo"
    assert recent.reopen() == []
    team.remove(bravo.npub, NOW)
    assert [view.author for view in recent.reopen()] == ["bravo (removed)"]
    assert [view.author for view in recent.newest(5)] == ["bravo (removed)"]
    assert recent.reopen() == []


def test_messages_between_others_are_seen_and_do_not_wait_to_be_opened(team: Team) -> None:
    devices = [Identity(bytes([n]) * 32, MC1, default_provider()) for n in (2, 3)]
    events = team.control_events()
    for number, device in enumerate(devices):
        events += team.admit(device.bundle_event(NOW), f"device {number}", "member", NOW)
    theirs = Team.load(devices[0], events, default_provider())
    assert theirs is not None
    recent = RecentEvents(lambda: team, ME)
    view = shown(recent, theirs.seal_direct(devices[1].npub, "between us", NOW))
    assert (view.author, view.to, view.text) == ("device 0", "", "sealed; between two other devices")
    assert recent.reopen() == []


# --- Messages of plain Nostr clients ----------------------------------------------------------------

PHONE = Identity(bytes([9]) * 32, MC1, default_provider())


def test_a_plain_message_stays_closed_until_the_rule_allows_it(team: Team) -> None:
    recent = RecentEvents(lambda: team, ME)
    theirs, mine = wrap_message(PHONE, ME.npub, "hello", NOW)
    closed = shown(recent, theirs, via="client 192.0.2.1")
    assert closed.text == "not opened: the team's rule plain_messages is off"
    assert closed.author != PHONE.npub[:8]
    assert shown(recent, mine).text == mine.content[:STRANGERS_TEXT] + "…", "not for this device"
    assert recent.reopen() == []
    team.set_policy(Policy(plain_messages=True), NOW)
    (opened,) = recent.reopen()
    assert recent.newest(10)[0] == opened
    assert (opened.npub, opened.author, opened.to) == (PHONE.npub, PHONE.npub[:8], "alpha")
    assert (opened.created_at, opened.words) == (NOW, "plain message")
    assert (opened.text, opened.sealed) == ("[not post-quantum] hello", False)


def test_an_admitted_clients_message_bears_the_name_it_was_given(team: Team) -> None:
    team.set_policy(Policy(plain_messages=True), NOW)
    team.admit_client(PHONE.npub, "medic's phone", "member", NOW)
    recent = RecentEvents(lambda: team, ME)
    theirs, _ = wrap_message(PHONE, ME.npub, "two bags", NOW)
    assert shown(recent, theirs).author == "medic's phone"
    _, copy = team.wrap_plain(PHONE.npub, "on my way", NOW)
    view = shown(recent, copy)
    assert (view.author, view.to, view.line) == (
        "alpha",
        "medic's phone",
        "to medic's phone: [not post-quantum] on my way",
    )


def test_without_a_team_there_is_no_rule_and_the_mark_is_there_all_the_same() -> None:
    recent = RecentEvents(lambda: None, ME)
    theirs, _ = wrap_message(PHONE, ME.npub, "hello", NOW)
    assert shown(recent, theirs).text == "[not post-quantum] hello"
    broken = sign_event(bytes([2]) * 32, GIFT_WRAP, (("p", ME.npub),), "junk", NOW)
    assert shown(recent, broken).text.startswith("[not post-quantum] not opened: It does not open")


def test_strangers_wraps_do_not_push_out_what_waits_for_the_teams_key(team: Team) -> None:
    known: list[Team] = [team]
    other = Team.found(PHONE, "Other", "other", NOW, default_provider())[0]
    recent = RecentEvents(lambda: known[0], ME)
    shown(recent, other.seal_note("early", NOW))
    for number in range(MAX_UNOPENED_WRAPS + 5):
        shown(recent, sign_event(bytes([2]) * 32, GIFT_WRAP, (("p", ME.npub),), str(number), NOW))
    assert len(recent._unopened_wraps) == MAX_UNOPENED_WRAPS
    known[0] = other
    assert "early" in [view.text for view in recent.reopen()]
