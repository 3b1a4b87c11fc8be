"""The team as devices see it: founding, admission, sealing, removal, and what attackers get."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec
import pytest

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, event_id
from meshconsole.core.kinds import EPOCH_GRANT, ROSTER_ENTRY
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.schnorr import sign_event, verify_event
from meshconsole.crypto.suites import HYBRID_TAG, MC1, MC2, Suite
from meshconsole.team.entries import make_entry
from meshconsole.team.files import FileEntry
from meshconsole.team.ops import Policy, Remove, SetRole
from meshconsole.team.state import Team

PROVIDER = default_provider()
NOW = 1_800_000_000


@dataclass
class World:
    """Devices that share every event at once."""

    suite: Suite = MC1
    events: list[Event] = field(default_factory=list)
    teams: dict[str, Team] = field(default_factory=dict)
    identities: dict[str, Identity] = field(default_factory=dict)

    def identity(self, name: str) -> Identity:
        if name not in self.identities:
            self.identities[name] = Identity.generate(self.suite, PROVIDER)
        return self.identities[name]

    def found(self, name: str = "alpha") -> Team:
        team, events = Team.found(self.identity(name), "Falcon", name, NOW, PROVIDER)
        self.teams[name] = team
        self.events += events
        return team

    def share(self, events: list[Event]) -> None:
        self.events += events
        for team in self.teams.values():
            for event in events:
                assert team.accept(event).accepted

    def admit(self, name: str, role: str = "member", by: str = "alpha") -> Team:
        bundle = self.identity(name).bundle_event(NOW)
        self.share(self.teams[by].admit(bundle, name, role, NOW))  # type: ignore[arg-type]
        team = Team.load(self.identity(name), self.events, PROVIDER)
        assert team is not None
        self.teams[name] = team
        return team


@pytest.fixture
def world() -> World:
    made = World()
    made.found()
    made.admit("bravo")
    return made


@pytest.mark.parametrize("suite", [MC1, MC2])
def test_both_suites_found_admit_and_read(suite: Suite) -> None:
    world = World(suite)
    world.found()
    bravo = world.admit("bravo")
    note = world.teams["alpha"].seal_note("hello", NOW)
    assert bravo.open_note(note).text == "hello"
    assert bravo.suite is suite


def test_everybody_sees_the_same_team_in_any_order(world: World) -> None:
    world.admit("charlie", "observer")
    world.share(world.teams["alpha"].rotate(NOW))
    expected = {(m.npub, m.role, m.fingerprint) for m in world.teams["alpha"].members()}
    for seed in range(5):
        shuffled = world.events[:]
        random.Random(seed).shuffle(shuffled)
        team = Team.load(world.identity("bravo"), shuffled, PROVIDER)
        assert team is not None
        assert {(m.npub, m.role, m.fingerprint) for m in team.members()} == expected
        assert team.epoch == 2
        assert team.team_id == world.teams["alpha"].team_id


def test_a_stranger_has_no_team_and_reads_nothing(world: World) -> None:
    assert Team.load(world.identity("stranger"), world.events, PROVIDER) is None


def test_members_are_found_by_their_link_key(world: World) -> None:
    device = world.teams["alpha"].device_for_key(world.identity("bravo").mldsa_public)
    assert device is not None
    assert device.name == "bravo"
    assert world.teams["alpha"].device_for_key(world.identity("stranger").mldsa_public) is None


def test_a_note_hides_its_text_and_opens_for_members(world: World) -> None:
    note = world.teams["bravo"].seal_note("grid 38S MB 12345", NOW)
    assert verify_event(note)
    assert "grid" not in msgspec.json.encode(note).decode()
    opened = world.teams["alpha"].open_note(note)
    assert (opened.text, opened.name, opened.author) == ("grid 38S MB 12345", "bravo", note.pubkey)


def test_notes_of_different_length_look_alike(world: World) -> None:
    team = world.teams["alpha"]
    assert len(team.seal_note("a", NOW).content) == len(team.seal_note("b" * 400, NOW).content)


@pytest.mark.parametrize("text", ["", "  \n", "x" * 16_385, "\ud800"])
def test_notes_that_cannot_be_sent_are_refused(world: World, text: str) -> None:
    with pytest.raises(Refused):
        world.teams["alpha"].seal_note(text, NOW)


def test_a_file_manifest_carries_the_key_to_members_only(world: World) -> None:
    alpha = world.teams["alpha"]
    entry = FileEntry("bafkreiexample", "map.pdf", 100, 600, "application/pdf", alpha.object_key())
    event = alpha.seal_manifest(entry, NOW)
    assert world.teams["bravo"].open_manifest(event) == entry
    assert "map.pdf" not in event.content


def test_observers_read_but_do_not_write(world: World) -> None:
    observer = world.admit("observer", "observer")
    note = world.teams["alpha"].seal_note("to all", NOW)
    assert observer.open_note(note).text == "to all"
    with pytest.raises(Refused, match="reads only"):
        observer.seal_note("me too", NOW)


def test_a_relay_is_linked_but_holds_no_key(world: World) -> None:
    relay = world.admit("pi", "relay")
    note = world.teams["alpha"].seal_note("secret", NOW)
    with pytest.raises(Refused, match="no key"):
        relay.open_note(note)
    assert world.teams["alpha"].device_for_key(world.identity("pi").mldsa_public) is not None
    assert len(relay.rendezvous_tag(b"12345678")) == 16


def test_history_opens_for_those_who_join_later(world: World) -> None:
    old = world.teams["alpha"].seal_note("before", NOW)
    world.share(world.teams["alpha"].rotate(NOW))
    assert world.admit("late").open_note(old).text == "before"


def test_a_removed_device_reads_and_writes_nothing_new(world: World) -> None:
    removed = world.teams.pop("bravo")
    events = world.teams["alpha"].remove(world.identity("bravo").npub, NOW)
    world.share(events)
    for event in events:
        removed.accept(event)
    note = world.teams["alpha"].seal_note("after", NOW)
    with pytest.raises(Refused, match="no key"):
        removed.open_note(note)
    with pytest.raises(Refused):
        removed.seal_note("still here", NOW)
    assert world.teams["alpha"].device_for_key(world.identity("bravo").mldsa_public) is None
    grants = [event for event in events if event.kind == EPOCH_GRANT]
    assert len(grants) == 1


def test_a_removed_device_cannot_write_under_the_new_epoch_with_a_stolen_key(world: World) -> None:
    bravo, alpha = world.identity("bravo"), world.teams["alpha"]
    world.share(alpha.remove(bravo.npub, NOW))
    stolen = alpha.keys.held(alpha._writing())
    from meshconsole.team.notes import seal_note

    forged = seal_note(bravo, stolen, "I never left", NOW)
    with pytest.raises(Refused, match="may not write"):
        alpha.open_note(forged)


def test_a_note_cannot_be_passed_on_as_somebody_elses(world: World) -> None:
    note = world.teams["alpha"].seal_note("order", NOW)
    bravo = world.identity("bravo")
    copied = sign_event(bravo.nsec, note.kind, note.tags, note.content, NOW)
    with pytest.raises(Refused):
        world.teams["alpha"].open_note(copied)


def test_a_note_cannot_be_passed_on_to_another_team(world: World) -> None:
    from meshconsole.core.kinds import TEAM_NOTE
    from meshconsole.team.sealed import open_event, seal_event

    alpha, me = world.teams["alpha"], world.identity("alpha")
    other, _ = Team.found(me, "Other", "alpha", NOW, PROVIDER)
    key = alpha.keys.held(alpha._writing())
    inner = open_event(alpha.seal_note("for Falcon only", NOW), key, 1)
    moved = seal_event(me, other.keys.held(other._writing()), inner, TEAM_NOTE)
    with pytest.raises(Refused, match="another team"):
        other.open_note(moved)


def test_plain_members_and_observers_cannot_change_the_roster(world: World) -> None:
    world.admit("observer", "observer")
    target = world.identity("alpha").npub
    for name in ("bravo", "observer"):
        team = world.teams[name]
        with pytest.raises(Refused, match="Only an admin"):
            team.remove(target, NOW)
        forged = make_entry(world.identity(name), team._roster.heads, [Policy("joining")], NOW)
        assert not world.teams["alpha"].accept(forged).accepted


def test_a_roster_entry_without_its_post_quantum_half_is_refused(world: World) -> None:
    alpha = world.identity("alpha")
    entry = make_entry(alpha, world.teams["alpha"]._roster.heads, [Policy("joining")], NOW)
    bare = tuple(tag for tag in entry.tags if tag[0] != HYBRID_TAG)
    stripped = sign_event(alpha.nsec, ROSTER_ENTRY, bare, entry.content, NOW)
    assert not world.teams["bravo"].accept(stripped).accepted


def test_a_stolen_nostr_key_alone_cannot_govern(world: World) -> None:
    thief = Identity(bytes([9]) * 32, MC1, PROVIDER, nsec=world.identity("alpha").nsec)
    heads = world.teams["alpha"]._roster.heads
    entry = make_entry(thief, heads, [SetRole(world.identity("bravo").npub, "admin")], NOW)
    assert not world.teams["bravo"].accept(entry).accepted
    assert world.teams["bravo"].my_role == "member"


def test_another_secret_under_the_committed_epoch_is_refused(world: World) -> None:
    from meshconsole.team.epochs import EpochKey, grant_event, open_grant

    alpha, bravo = world.identity("alpha"), world.identity("bravo")
    team = world.teams["alpha"]
    record = team._writing()
    false = EpochKey.fresh(team.team_id, record.n)
    grant = grant_event(alpha, false, bravo.bundle, NOW, PROVIDER)
    with pytest.raises(Refused):
        open_grant(bravo, grant, team.team_id, record.n, record.commit)


def test_only_one_form_of_an_entry_is_taken(world: World) -> None:
    alpha = world.identity("alpha")
    heads = world.teams["alpha"]._roster.heads
    good = make_entry(alpha, heads, [Policy("joining")], NOW)
    spaced = alpha.sign_control(ROSTER_ENTRY, (), good.content.replace(":", ": ", 1), NOW, b"mc/roster/v1")
    doubled = good.content.replace('{"v":1', '{"v":1,"v":1', 1)
    twice = alpha.sign_control(ROSTER_ENTRY, (), doubled, NOW, b"mc/roster/v1")
    unknown = good.content.replace('"policy"', '"dance"')
    strange = alpha.sign_control(ROSTER_ENTRY, (), unknown, NOW, b"mc/roster/v1")
    for event in (spaced, twice, strange):
        assert not world.teams["bravo"].accept(event).accepted


def test_a_removal_without_a_new_epoch_is_refused(world: World) -> None:
    alpha = world.identity("alpha")
    bare = make_entry(alpha, world.teams["alpha"]._roster.heads, [Remove(world.identity("bravo").npub)], NOW)
    assert "rotate" in world.teams["bravo"].accept(bare).sentence


def test_losing_the_right_to_read_begins_a_new_epoch(world: World) -> None:
    alpha = world.teams["alpha"]
    world.share(alpha.set_role(world.identity("bravo").npub, "relay", NOW))
    assert alpha.epoch == 2
    with pytest.raises(Refused, match="no key"):
        world.teams["bravo"].open_note(alpha.seal_note("x", NOW))


def test_a_device_that_asks_again_gets_its_grant_again(world: World) -> None:
    again = world.teams["alpha"].admit(world.identity("bravo").bundle_event(NOW), "bravo", "member", NOW)
    assert [event.kind for event in again].count(ROSTER_ENTRY) == 0
    assert again[-1].kind == EPOCH_GRANT


def test_an_entry_waits_for_its_parent(world: World) -> None:
    alpha, bravo = world.teams["alpha"], world.teams["bravo"]
    first = alpha.rotate(NOW)
    second = alpha.rotate(NOW)
    for event in second + first:
        assert bravo.accept(event).accepted
    assert bravo.epoch == 3
    assert bravo.open_note(alpha.seal_note("third epoch", NOW)).text == "third epoch"


def test_a_changed_entry_is_no_entry(world: World) -> None:
    good = make_entry(world.identity("alpha"), world.teams["alpha"]._roster.heads, [Policy("joining")], NOW)
    content = good.content.replace("joining", "full")
    changed = msgspec.structs.replace(good, content=content)
    digest = event_id(changed.pubkey, changed.created_at, changed.kind, changed.tags, content).hex()
    assert not world.teams["bravo"].accept(msgspec.structs.replace(changed, id=digest)).accepted
