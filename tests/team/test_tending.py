"""Partitions, and what admins' devices mend when they meet again; policies and history."""

from __future__ import annotations

import pytest

from meshconsole.core.errors import Refused
from meshconsole.team.ops import Policy
from meshconsole.team.state import Team
from tests.team.devices import DAY_S, NOW, PROVIDER, Device, entries, founder, grants, identity, join, sync


@pytest.fixture
def alpha() -> Device:
    return founder()


@pytest.fixture
def bravo(alpha: Device) -> Device:
    """A second admin."""
    return join(alpha, "bravo", "admin")


def test_concurrent_removals_are_merged_by_the_next_admin(alpha: Device, bravo: Device) -> None:
    one, two, stays = join(alpha, "one"), join(alpha, "two"), join(alpha, "stays")
    sync(alpha, bravo, one, two, stays)
    alpha.say(alpha.team.remove(one.npub, NOW))
    bravo.say(bravo.team.remove(two.npub, NOW))
    sync(alpha, bravo, stays)
    assert alpha.team.rotation_due
    assert alpha.team.members() == bravo.team.members() == stays.team.members()
    assert stays.team.tend(NOW) == []
    alpha.say(alpha.team.tend(NOW))
    sync(alpha, bravo, stays, one, two)
    assert not any(device.team.rotation_due for device in (alpha, bravo, stays))
    note = stays.team.seal_note("only us", NOW)
    assert bravo.team.open_note(note).text == "only us"
    for removed in (one, two):
        with pytest.raises(Refused, match="no key"):
            removed.team.open_note(note)


def test_notes_of_both_partitions_open_for_all_afterwards_and_for_newcomers(
    alpha: Device, bravo: Device
) -> None:
    alpha.say(alpha.team.rotate(NOW))
    bravo.say(bravo.team.rotate(NOW))
    bravo.say(bravo.team.rotate(NOW))
    left, right = alpha.team.seal_note("left", NOW), bravo.team.seal_note("right", NOW)
    sync(alpha, bravo)
    alpha.say(alpha.team.rotate(NOW))
    newcomer = join(alpha, "late")
    for device in (alpha, bravo, newcomer):
        assert device.team.open_note(left).text == "left"
        assert device.team.open_note(right).text == "right"


def test_who_was_admitted_out_of_earshot_of_a_rotation_gets_the_key_later(
    alpha: Device, bravo: Device
) -> None:
    alpha.say(alpha.team.rotate(NOW))
    newcomer = join(bravo, "new")
    sync(alpha, bravo, newcomer)
    with pytest.raises(Refused, match="has not reached this device yet"):
        newcomer.team.seal_note("hello", NOW)
    mended = bravo.say(bravo.team.tend(NOW))
    assert len(grants(mended)) == len(mended) == 1
    sync(alpha, bravo, newcomer)
    assert alpha.team.open_note(newcomer.team.seal_note("hello", NOW)).text == "hello"
    assert alpha.team.tend(NOW) == bravo.team.tend(NOW) == []


def test_a_grant_that_is_not_an_admins_does_not_stop_the_mending(alpha: Device, bravo: Device) -> None:
    alpha.say(alpha.team.rotate(NOW))
    newcomer = join(bravo, "new")
    sync(alpha, bravo)
    from meshconsole.core.kinds import EPOCH_GRANT
    from meshconsole.team.epochs import grant_address

    record = bravo.team._roster.epochs_to_write()[0][0]
    content = grants(alpha.log.values())[0].content
    address = grant_address(alpha.team.team_id, record.kid, newcomer.npub)
    for device in (alpha, bravo):
        device.team.accept(newcomer.me.sign(EPOCH_GRANT, (("d", address),), content, NOW))
    assert len(grants(bravo.team.tend(NOW))) == 1


def test_epochs_end_by_age(alpha: Device) -> None:
    assert alpha.team.tend(NOW + 30 * DAY_S) == []
    assert len(entries(alpha.team.tend(NOW + 30 * DAY_S + 1))) == 1
    assert alpha.team.epoch == 2
    alpha.say(alpha.team.set_policy(Policy(rotate_days=1), NOW))
    assert len(entries(alpha.team.tend(NOW + 32 * DAY_S))) == 1
    assert alpha.team.epoch == 3


def test_two_admins_who_mend_at_once_agree_on_one_epoch(alpha: Device, bravo: Device) -> None:
    later = NOW + 31 * DAY_S
    alpha.say(alpha.team.tend(later))
    bravo.say(bravo.team.tend(later))
    sync(alpha, bravo)
    assert alpha.team.tend(later) == bravo.team.tend(later) == []
    assert alpha.team._writing().commit == bravo.team._writing().commit


def test_with_full_history_a_newcomer_reads_what_was_before(alpha: Device, bravo: Device) -> None:
    first = alpha.team.seal_note("first epoch", NOW)
    for _ in range(4):
        alpha.say(alpha.team.rotate(NOW))
    newcomer = join(alpha, "new")
    assert newcomer.team.open_note(first).text == "first epoch"


def test_with_history_from_joining_a_newcomer_reads_nothing_older(alpha: Device, bravo: Device) -> None:
    alpha.say(alpha.team.set_policy(Policy(history="joining"), NOW))
    before = alpha.team.seal_note("before", NOW)
    newcomer = join(alpha, "new")
    sync(alpha, bravo, newcomer)
    with pytest.raises(Refused, match="no key"):
        newcomer.team.open_note(before)
    note = newcomer.team.seal_note("after", NOW)
    assert alpha.team.open_note(note).text == bravo.team.open_note(note).text == "after"


def test_a_lying_link_does_not_cut_newcomers_off(alpha: Device, bravo: Device) -> None:
    """A captured admin claims a link to the old epoch; the next honest rotation links it truly."""
    from meshconsole.team.entries import make_entry
    from meshconsole.team.epochs import EpochKey
    from meshconsole.team.ops import EpochLink, NewEpoch

    old = alpha.team.seal_note("old", NOW)
    key = EpochKey.fresh(alpha.team.team_id, 2)
    lie = EpochLink(alpha.team._roster.epochs()[0].kid, key.seal_link(EpochKey.fresh(alpha.team.team_id, 1)))
    bravo.team.keys.add(key)
    entry = make_entry(bravo.me, bravo.team._roster.heads, [NewEpoch(2, key.commit, (lie,))], NOW)
    assert bravo.team.accept(entry).accepted
    bravo.say([entry, *bravo.team._grants(key, [alpha.npub, bravo.npub], NOW)])
    sync(alpha, bravo)
    alpha.say(alpha.team.rotate(NOW))
    assert join(alpha, "new").team.open_note(old).text == "old"


def test_an_admin_who_lacks_the_new_key_lets_nobody_in_with_an_old_one(alpha: Device, bravo: Device) -> None:
    removed = join(alpha, "gone")
    sync(alpha, bravo, removed)
    for event in entries(alpha.team.remove(removed.npub, NOW)):
        bravo.team.accept(event)
    before = len(bravo.team._roster)
    with pytest.raises(Refused, match="has not reached"):
        bravo.team.admit(identity().bundle_event(NOW), "new", "member", NOW)
    assert len(bravo.team._roster) == before
    relay = bravo.team.admit(identity().bundle_event(NOW), "pi", "relay", NOW)
    assert grants(relay) == []


def test_raising_a_relay_to_member_gives_it_the_key(alpha: Device) -> None:
    pi = join(alpha, "pi", "relay")
    with pytest.raises(Refused):
        pi.team.seal_note("x", NOW)
    alpha.say(alpha.team.set_role(pi.npub, "member", NOW))
    pi.hear(alpha)
    assert alpha.team.open_note(pi.team.seal_note("now I may", NOW)).text == "now I may"


def test_a_removed_device_that_is_admitted_again_reads_again(alpha: Device, bravo: Device) -> None:
    gone = join(alpha, "gone")
    alpha.say(alpha.team.remove(gone.npub, NOW))
    back = join(alpha, "gone", me=gone.me)
    assert alpha.team.open_note(back.team.seal_note("back", NOW)).text == "back"


def test_a_large_store_loads_in_any_order_with_every_key(alpha: Device) -> None:
    """The newest grant must not be pushed out by older ones of other devices."""
    bravo = join(alpha, "bravo")
    for _ in range(12):
        alpha.say(alpha.team.rotate(NOW))
    newest_first = list(alpha.log.values())[::-1]
    team = Team.load(bravo.me, newest_first, PROVIDER, alpha.team.team_id)
    assert team is not None
    assert all(team.keys.holds(record) for record in team._roster.epochs())


def test_rendezvous_tags_tell_teammates_only(alpha: Device, bravo: Device) -> None:
    ephemeral = b"12345678"
    tag = alpha.team.rendezvous_tag(ephemeral)
    assert tag == bravo.team.rendezvous_tag(ephemeral)
    assert len(bytes.fromhex(tag)) == 8
    assert tag != alpha.team.rendezvous_tag(b"another!")
    assert tag != founder().team.rendezvous_tag(ephemeral)
    alpha.say(alpha.team.rotate(NOW))
    assert tag != alpha.team.rendezvous_tag(ephemeral)
