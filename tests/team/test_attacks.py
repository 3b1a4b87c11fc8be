"""What strangers, removed devices, relays and captured admins try, with real keys."""

from __future__ import annotations

import msgspec
import pytest

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, Tags, encode_event
from meshconsole.core.kinds import EPOCH_GRANT, FILE_MANIFEST, KEY_BUNDLE, ROSTER_ENTRY, TEAM_NOTE
from meshconsole.crypto.encoding import b64, unb64
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.sealing import pad, seal, unseal
from meshconsole.crypto.suites import MC1
from meshconsole.team.entries import CONTEXT, make_entry
from meshconsole.team.epochs import EpochKey, _grant_info, grant_address, grant_event, open_grant
from meshconsole.team.files import FileEntry, _Body, _wrap_context
from meshconsole.team.intake import MAX_SPARE_BUNDLES, MAX_WAITING, MAX_WAITING_BYTES
from meshconsole.team.keyring import MAX_WAITING as MAX_WAITING_GRANTS
from meshconsole.team.notes import seal_note
from meshconsole.team.ops import Add, NewEpoch, Policy, SetRole
from meshconsole.team.sealed import MAX_SEALED_TEXT, _context, open_event, seal_event, team_tags
from meshconsole.team.state import Team
from tests.team.devices import NOW, PROVIDER, Device, bundles, entries, founder, grants, identity, join, sync


@pytest.fixture
def alpha() -> Device:
    return founder()


@pytest.fixture
def bravo(alpha: Device) -> Device:
    return join(alpha, "bravo")


# --- Strangers -------------------------------------------------------------------------------------


def test_a_strangers_broken_bundle_does_not_hide_the_team(alpha: Device) -> None:
    broken = identity().sign(KEY_BUNDLE, (("d", "mc:1"),), "AAAA", NOW)
    alpha.log = {broken.id: broken, **alpha.log}
    assert alpha.restart().my_role == "admin"


def test_a_strangers_team_that_names_this_device_is_not_taken_for_its_own(
    alpha: Device, bravo: Device
) -> None:
    evil = founder("evil")
    join(evil, "bravo", me=bravo.me)
    bravo.log = {**evil.log, **bravo.log}
    assert bravo.restart().team_id == alpha.team.team_id
    with pytest.raises(Refused, match="several teams"):
        Team.load(bravo.me, list(bravo.log.values()), PROVIDER)
    for event in entries(evil.log.values()):
        bravo.team.accept(event)
        assert event.id not in bravo.team._roster


def test_strangers_who_flood_the_waiting_room_do_not_fill_the_memory(bravo: Device) -> None:
    stranger, intake = identity(), bravo.team._intake
    big = "x" * 50_000
    for k in range(MAX_WAITING_BYTES // len(big) + 20):
        orphan = make_entry(stranger, [f"{k:064x}"], [Policy(rotate_days=1)], NOW)
        padded = Event(orphan.id, orphan.pubkey, NOW, ROSTER_ENTRY, ((big,),), orphan.content, orphan.sig)
        assert bravo.team.accept(padded).accepted
    assert intake._waiting_bytes <= MAX_WAITING_BYTES
    for k in range(MAX_WAITING + 20):
        forged = Event(
            f"{k:064x}", stranger.npub, NOW, ROSTER_ENTRY, (("pqsig",),), orphan.content, "0" * 128
        )
        bravo.team.accept(forged)
    assert len(intake._waiting) <= MAX_WAITING
    assert intake._waiting_bytes <= MAX_WAITING_BYTES


def test_strangers_bundles_are_forgotten_but_never_a_members(alpha: Device, bravo: Device) -> None:
    for _ in range(MAX_SPARE_BUNDLES + 5):
        assert alpha.team.accept(identity().bundle_event(NOW)).accepted
    assert len(alpha.team._intake._bundles) == MAX_SPARE_BUNDLES + 2
    assert alpha.team.device_for_key(bravo.me.mldsa_public) is not None


def test_bogus_grants_neither_replace_the_key_nor_keep_it_away(alpha: Device, bravo: Device) -> None:
    rotation = alpha.say(alpha.team.rotate(NOW))
    mine = next(g for g in grants(rotation) if g.tags[0][1] not in _addresses_of(alpha))
    record = alpha.team._roster.epochs()[-1]
    false = EpochKey.fresh(alpha.team.team_id, record.n)
    for k in range(6):
        forged = grant_event(identity(), false, bravo.me.bundle, NOW + k, PROVIDER)
        forged = bravo.me.sign(EPOCH_GRANT, mine.tags, forged.content, NOW + k)
        assert bravo.team.accept(forged).accepted
    bravo.hear(alpha)
    assert bravo.team.open_note(alpha.team.seal_note("new epoch", NOW)).text == "new epoch"


def _addresses_of(device: Device) -> set[str]:
    keys = device.team.keys
    return {keys._address(record) for record in device.team._roster.epochs()}


def test_a_flood_of_grants_is_bounded_and_own_ones_are_kept(alpha: Device, bravo: Device) -> None:
    stranger = identity()
    content = grants(alpha.log.values())[0].content
    for k in range(MAX_WAITING_GRANTS + 10):
        event = Event(f"{k:064x}", stranger.npub, NOW, EPOCH_GRANT, (("d", f"{k:032x}"),), content, "0" * 128)
        assert bravo.team.accept(event).accepted
        bravo.log[event.id] = event
    assert len(bravo.team.keys._waiting) <= MAX_WAITING_GRANTS
    bravo.restart()
    assert bravo.team.open_note(alpha.team.seal_note("hello", NOW)).text == "hello"


@pytest.mark.parametrize(
    ("tags", "content"),
    [
        ((), None),
        ((("d", "ab"),), None),
        ((("d", "0" * 32), ("d", "0" * 32)), None),
        ((("d", "0" * 32),), "!"),
    ],
)
def test_what_is_no_grant_is_refused(alpha: Device, tags: Tags, content: str | None) -> None:
    good = grants(alpha.log.values())[0].content
    event = alpha.me.sign(EPOCH_GRANT, tags, good if content is None else content, NOW)
    assert not alpha.team.accept(event).accepted


def test_a_genesis_that_was_tampered_with_founds_no_team(alpha: Device) -> None:
    genesis = alpha.team.genesis
    thief = Identity(bytes([5]) * 32, MC1, PROVIDER, nsec=alpha.me.nsec)
    forged = [
        alpha.me.sign(ROSTER_ENTRY, genesis.tags, genesis.content.replace("Falcon", "Vulture"), NOW),
        alpha.me.sign(ROSTER_ENTRY, (), genesis.content, NOW),
        thief.sign_control(ROSTER_ENTRY, (), genesis.content, NOW, CONTEXT),
    ]
    others = [event for event in alpha.log.values() if event.id != genesis.id]
    assert Team.load(alpha.me, [genesis, *others], PROVIDER) is not None
    for event in forged:
        assert Team.load(alpha.me, [event, *others], PROVIDER) is None


# --- Removed devices and withheld keys -------------------------------------------------------------


def test_a_withheld_grant_does_not_make_members_write_to_the_removed(alpha: Device, bravo: Device) -> None:
    removed = join(alpha, "gone")
    sync(alpha, bravo, removed)
    removal = alpha.say(alpha.team.remove(removed.npub, NOW))
    for event in entries(removal):
        bravo.team.accept(event)
    with pytest.raises(Refused, match="has not reached this device yet"):
        bravo.team.seal_note("not for the removed", NOW)
    bravo.hear(alpha)
    note = bravo.team.seal_note("not for the removed", NOW)
    removed.hear(alpha)
    with pytest.raises(Refused, match="no key"):
        removed.team.open_note(note)
    assert alpha.team.open_note(note).text == "not for the removed"


def test_a_replayed_grant_of_an_earlier_epoch_brings_nothing_back(alpha: Device, bravo: Device) -> None:
    old = grants(alpha.log.values())
    removed = bravo
    alpha.say(alpha.team.remove(removed.npub, NOW))
    removed.hear(alpha)
    for event in old:
        relabelled = removed.me.sign(EPOCH_GRANT, event.tags, event.content, NOW + 9)
        removed.team.accept(event)
        removed.team.accept(relabelled)
    for record in removed.team._roster.epochs():
        assert removed.team.keys.holds(record) == (record.n == 1)


def test_a_grant_for_another_device_does_not_open_here(alpha: Device, bravo: Device) -> None:
    alpha.say(alpha.team.rotate(NOW))
    charlie = join(alpha, "charlie", "relay")
    charlies = charlie.team.keys._address(charlie.team._roster.epochs()[-1])
    for event in grants(alpha.log.values()):
        charlie.team.accept(charlie.me.sign(EPOCH_GRANT, (("d", charlies),), event.content, NOW))
    assert not any(charlie.team.keys.holds(record) for record in charlie.team._roster.epochs())


def test_a_removed_admin_cannot_return_by_back_dating(alpha: Device) -> None:
    mallory = join(alpha, "mallory", "admin")
    before = mallory.team._roster.heads
    alpha.say(alpha.team.remove(mallory.npub, NOW))
    friend = identity()
    add = Add(friend.npub, "friend", "admin", friend.bundle_hash.hex())
    forged = make_entry(mallory.me, before, [add], NOW - 1000)
    promoted = make_entry(friend, [forged.id], [SetRole(alpha.npub, "relay"), _epoch(2)], NOW - 999)
    for event in (friend.bundle_event(NOW), forged, promoted):
        alpha.team.accept(event)
    assert alpha.roles() == {"alpha": "admin"}
    assert alpha.team.epoch == 2


def _epoch(n: int) -> NewEpoch:
    return NewEpoch(n, "ab" * 32)


def test_a_newcomer_can_follow_a_history_that_holds_void_entries(alpha: Device) -> None:
    """The void entries' authors are nobody's members, but later entries build on theirs."""
    mallory = join(alpha, "mallory", "admin")
    before = mallory.team._roster.heads
    alpha.say(alpha.team.remove(mallory.npub, NOW))
    friend = identity()
    forged = make_entry(mallory.me, before, [Add(friend.npub, "f", "admin", friend.bundle_hash.hex())], NOW)
    void = make_entry(friend, [forged.id], [Policy(rotate_days=9)], NOW)
    for event in alpha.say([friend.bundle_event(NOW), forged, void]):
        assert alpha.team.accept(event).accepted
    alpha.say(alpha.team.rotate(NOW))
    newcomer = identity()
    admission = alpha.team.admit(newcomer.bundle_event(NOW), "new", "member", NOW)
    told = [*alpha.team.control_events(), *grants(admission)]
    team = Team.load(newcomer, told, PROVIDER, alpha.team.team_id)
    assert team is not None
    assert team.members() == alpha.team.members()
    assert team.open_note(alpha.team.seal_note("welcome", NOW)).text == "welcome"


# --- Captured admins -------------------------------------------------------------------------------


def test_an_admin_cannot_hand_two_members_different_keys(alpha: Device, bravo: Device) -> None:
    charlie = join(alpha, "charlie")
    sync(alpha, bravo, charlie)
    rotation = alpha.team.rotate(NOW)
    record = alpha.team._roster.epochs()[-1]
    false = EpochKey.fresh(alpha.team.team_id, record.n)
    for event in entries(rotation):
        bravo.team.accept(event)
    for name in ("commit", "kid"):  # the grant claims the roster's commitment but holds another secret
        assert getattr(false, name) != getattr(record, name)
    lying = _grant_with_commit(alpha.me, false, record.commit, bravo.me)
    assert bravo.team.accept(lying).accepted
    assert not bravo.team.keys.holds(record)
    with pytest.raises(Refused, match="another key than the roster commits to"):
        open_grant(bravo.me, lying, alpha.team.team_id, record.n, record.commit)


def _grant_with_commit(author: Identity, key: EpochKey, commit: str, to: Identity) -> Event:
    info = _grant_info(key.team, key.n, commit, to.npub, to.bundle_hash)
    wrapped = PROVIDER.hpke_seal(MC1, to.kem_public, info, key.secret)
    tags = (("d", grant_address(key.team, commit[:16], to.npub)),)
    return author.sign(EPOCH_GRANT, tags, b64(wrapped), NOW)


def test_an_admin_cannot_pass_one_device_off_as_another(alpha: Device, bravo: Device) -> None:
    """An entry may name any bundle for any npub; bravo's keys must go on meaning bravo."""
    accomplice = identity()
    lie = Add(accomplice.npub, "bravo", "admin", bravo.me.bundle_hash.hex())
    assert alpha.team.accept(make_entry(alpha.me, alpha.team._roster.heads, [lie], NOW)).accepted
    device = alpha.team.device_for_key(bravo.me.mldsa_public)
    assert device is not None
    assert device.npub == bravo.npub
    both = Identity(bravo.me.seed, MC1, PROVIDER, nsec=accomplice.nsec)
    act = make_entry(both, alpha.team._roster.heads, [Policy(rotate_days=2)], NOW)
    alpha.team.accept(act)
    assert act.id not in alpha.team._roster


def test_the_root_key_undoes_a_captured_admin_who_was_believed(alpha: Device) -> None:
    root = identity()
    captured = founder("captured", root)
    good = join(captured, "good", "admin")
    bad = captured.say(captured.team.remove(good.npub, NOW))
    friend = join(captured, "friend", "admin")
    good.hear(captured)
    assert good.roles() == {"captured": "admin", "friend": "admin"}
    office = Team.load(root, list(captured.log.values()), PROVIDER, captured.team.team_id)
    assert office is not None
    assert office.my_role == "root"
    disown = office.entries_by(captured.npub)
    events = office.remove(captured.npub, NOW, disown=disown[disown.index(entries(bad)[0].id) :])
    for event in events:
        good.team.accept(event)
    assert good.roles() == {"good": "admin"}
    assert good.team.device_for_key(friend.me.mldsa_public) is None
    assert good.team.open_note(good.team.seal_note("ours again", NOW)).text == "ours again"
    assert good.team.device_for_key(root.mldsa_public) is not None


def test_a_stolen_nostr_key_cannot_be_readmitted_with_other_keys(alpha: Device, bravo: Device) -> None:
    thief = Identity(bytes([7]) * 32, MC1, PROVIDER, nsec=bravo.me.nsec)
    with pytest.raises(Refused, match="with other keys"):
        alpha.team.admit(thief.bundle_event(NOW), "bravo", "member", NOW)
    assert alpha.team.device_for_key(thief.mldsa_public) is None
    assert alpha.team.device_for_key(bravo.me.mldsa_public) is not None


def test_somebody_elses_bundle_under_my_name_is_refused(alpha: Device, bravo: Device) -> None:
    other = bundles(bravo.log.values())[0]
    copied = bravo.me.sign(KEY_BUNDLE, other.tags, other.content, NOW)
    if other.pubkey == bravo.npub:
        copied = alpha.me.sign(KEY_BUNDLE, other.tags, other.content, NOW)
    assert not alpha.team.accept(copied).accepted


def test_an_entry_with_a_tag_that_relays_act_on_is_refused(alpha: Device) -> None:
    good = make_entry(alpha.me, alpha.team._roster.heads, [Policy(rotate_days=3)], NOW)
    for tag in (("expiration", "1900000000"), ("-",), ("e", "0" * 64)):
        marked = alpha.me.sign_control(ROSTER_ENTRY, (tag,), good.content, NOW, CONTEXT)
        assert not alpha.team.accept(marked).accepted
    assert alpha.team.accept(good).accepted


def test_entries_of_another_use_or_suite_are_refused(alpha: Device) -> None:
    good = make_entry(alpha.me, alpha.team._roster.heads, [Policy(rotate_days=3)], NOW)
    other_use = alpha.me.sign_control(ROSTER_ENTRY, (), good.content, NOW, b"mc/checkpoint/v1")
    assert not alpha.team.accept(other_use).accepted
    for suite in ('"suite":2', '"suite":9'):
        content = good.content.replace('"suite":1', suite)
        assert not alpha.team.accept(alpha.me.sign_control(ROSTER_ENTRY, (), content, NOW, CONTEXT)).accepted


# --- Notes and files -------------------------------------------------------------------------------


def test_an_observer_with_the_key_cannot_write(alpha: Device) -> None:
    watch = join(alpha, "watch", "observer")
    record = watch.team._roster.epochs()[-1]
    forged = seal_note(watch.me, watch.team.keys.held(record), "I may only read", NOW)
    with pytest.raises(Refused, match="may not write"):
        alpha.team.open_note(forged)


def test_old_notes_of_a_removed_member_stay_readable(alpha: Device, bravo: Device) -> None:
    note = bravo.team.seal_note("while I belonged", NOW)
    alpha.say(alpha.team.remove(bravo.npub, NOW))
    assert alpha.team.open_note(note).name == "bravo"


def test_a_note_cannot_be_sealed_again_under_another_name(alpha: Device, bravo: Device) -> None:
    key = alpha.team.keys.held(alpha.team._writing())
    note = alpha.team.seal_note("said by alpha", NOW)
    inner = encode_event(open_event(note, key, 1))
    taken = _sealed_by(bravo.me, key, TEAM_NOTE, inner)
    with pytest.raises(Refused, match="another hand"):
        alpha.team.open_note(taken)


def test_an_unsigned_note_inside_a_good_seal_is_refused(alpha: Device, bravo: Device) -> None:
    """A member knows the epoch's key; only the author's own key makes a note his."""
    key = alpha.team.keys.held(alpha.team._writing())
    inner = open_event(alpha.team.seal_note("yes", NOW), key, 1)
    forged = msgspec.structs.replace(inner, content="no")
    outer = _sealed_by(alpha.me, key, TEAM_NOTE, encode_event(forged))
    with pytest.raises(Refused, match="signature inside"):
        bravo.team.open_note(outer)


def test_a_sealed_event_beyond_every_limit_is_not_even_opened(alpha: Device) -> None:
    key = alpha.team.keys.held(alpha.team._writing())
    huge = alpha.me.sign(1, team_tags(alpha.team.team_id), "x" * MAX_SEALED_TEXT, NOW)
    with pytest.raises(Refused, match="larger than any"):
        alpha.team.open_note(_sealed_by(alpha.me, key, TEAM_NOTE, encode_event(huge)))


def _sealed_by(author: Identity, key: EpochKey, kind: int, inner: bytes) -> Event:
    content = b64(seal(key.derive("event"), _context(key, kind, author.npub), pad(inner)))
    return author.sign(kind, (("h", key.routing_tag), ("k", key.kid)), content, NOW)


def test_a_note_does_not_pass_for_a_file_nor_a_file_for_a_note(alpha: Device) -> None:
    entry = FileEntry("bafkreiexample", "map.pdf", 1, 2, "text/plain", alpha.team.object_key())
    note, manifest = alpha.team.seal_note("x", NOW), alpha.team.seal_manifest(entry, NOW)
    for event, kind, opens in (
        (note, FILE_MANIFEST, alpha.team.open_manifest),
        (manifest, TEAM_NOTE, alpha.team.open_note),
    ):
        with pytest.raises(Refused):
            opens(alpha.me.sign(kind, event.tags, event.content, NOW))
        with pytest.raises(Refused):
            opens(event)


def test_a_files_key_cannot_be_put_before_another_file(alpha: Device, bravo: Device) -> None:
    key = alpha.team.keys.held(alpha.team._roster.epochs()[-1])
    entry = FileEntry("bafkreioriginal", "a", 1, 2, "text/plain", alpha.team.object_key())
    inner = open_event(alpha.team.seal_manifest(entry, NOW), key, 1063)
    body = msgspec.json.decode(inner.content, type=_Body)
    assert unseal(key.derive("cek"), _wrap_context(key, entry.cid), unb64(body.key)) == entry.key
    moved = msgspec.structs.replace(body, cid="bafkreianother")
    content = msgspec.json.encode(moved).decode()
    forged = bravo.me.sign(1063, team_tags(alpha.team.team_id), content, NOW)
    with pytest.raises(Refused):
        alpha.team.open_manifest(seal_event(bravo.me, key, forged, FILE_MANIFEST))


def test_a_sealed_event_that_was_changed_anywhere_does_not_open(alpha: Device, bravo: Device) -> None:
    note = bravo.team.seal_note("hold", NOW)
    for position in (0, 40, 80, len(note.content) // 2, len(note.content) - 6):
        other = "A" if note.content[position] != "A" else "B"
        content = note.content[:position] + other + note.content[position + 1 :]
        with pytest.raises(Refused):
            alpha.team.open_note(bravo.me.sign(TEAM_NOTE, note.tags, content, NOW))
    with pytest.raises(Refused):
        alpha.team.open_note(bravo.me.sign(TEAM_NOTE, (), note.content, NOW))
