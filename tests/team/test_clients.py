"""Plain Nostr keys that the team admits to its relays, and lost devices that new ones replace."""

from __future__ import annotations

import pytest

from meshconsole.core.errors import Refused
from meshconsole.crypto.schnorr import npub_to_bech32
from meshconsole.team.ops import Add, AdmitClient, Remove, SetRole
from tests.team.devices import NOW, Device, founder, identity, join, sync
from tests.team.histories import BUNDLE, Graph, add

PHONE = identity().npub


@pytest.fixture
def alpha() -> Device:
    return founder()


def test_a_client_uses_the_relays_and_nothing_else(alpha: Device) -> None:
    epoch = alpha.team.epoch
    alpha.say(alpha.team.admit_client(npub_to_bech32(PHONE), "phone", "member", NOW))
    team = alpha.team
    assert [(c.npub, c.name, c.writes) for c in team.clients()] == [(PHONE, "phone", True)]
    assert team.may_publish(PHONE)
    assert team.may_query(PHONE)
    assert not team.may_write(PHONE)
    assert not team.may_read(PHONE)
    assert PHONE not in [member.npub for member in team.members()]
    assert team.epoch == epoch
    assert not team.rotation_due


def test_an_observer_client_reads_only(alpha: Device) -> None:
    alpha.say(alpha.team.admit_client(PHONE, "phone", "observer", NOW))
    assert alpha.team.may_query(PHONE)
    assert not alpha.team.may_publish(PHONE)


def test_a_removed_client_is_out_at_once_and_the_key_stays(alpha: Device) -> None:
    bravo = join(alpha, "bravo")
    alpha.say(alpha.team.admit_client(PHONE, "phone", "member", NOW))
    sync(alpha, bravo)
    assert bravo.team.may_publish(PHONE)
    epoch = alpha.team.epoch
    alpha.say(alpha.team.remove(PHONE, NOW))
    sync(alpha, bravo)
    assert not bravo.team.may_query(PHONE)
    assert bravo.team.clients() == ()
    assert bravo.team.epoch == epoch
    assert not bravo.team.rotation_due


def test_a_client_survives_a_restart(alpha: Device) -> None:
    alpha.say(alpha.team.admit_client(PHONE, "phone", "member", NOW))
    assert alpha.restart().may_publish(PHONE)


def test_only_admins_admit_clients(alpha: Device) -> None:
    bravo = join(alpha, "bravo")
    with pytest.raises(Refused, match="Only an admin"):
        bravo.team.admit_client(PHONE, "phone", "member", NOW)


@pytest.mark.parametrize("text", ["", "npub1", "PHONE", "00" * 31, "zz" * 32])
def test_what_is_no_key_is_refused(alpha: Device, text: str) -> None:
    with pytest.raises(Refused):
        alpha.team.admit_client(text, "phone", "member", NOW)


def test_a_removal_beats_an_admission_that_does_not_know_of_it() -> None:
    graph = Graph.found(["alpha", "bravo"])
    admitted = graph.write("alpha", [graph.first], AdmitClient("phone", "phone", "member"))
    removed = graph.write("alpha", [admitted], Remove("phone"))
    graph.write("bravo", [admitted], add("charlie"))
    assert graph.roles().get("phone") is None
    again = graph.write("alpha", [removed], AdmitClient("phone", "phone", "observer"))
    assert graph.roles()["phone"] == "client-observer"
    assert again in graph.roster.heads


def test_of_two_admissions_the_lower_right_holds() -> None:
    graph = Graph.found(["alpha", "bravo"])
    graph.write("alpha", [graph.first], AdmitClient("phone", "phone", "member"))
    graph.write("bravo", [graph.first], AdmitClient("phone", "phone", "observer"))
    assert graph.roles()["phone"] == "client-observer"


@pytest.mark.parametrize(
    "op", [SetRole("phone", "admin"), add("phone"), AdmitClient("phone", "phone", "observer")]
)
def test_a_client_is_never_made_a_device(op: SetRole | Add | AdmitClient) -> None:
    graph = Graph.found(["alpha"])
    admitted = graph.write("alpha", [graph.first], AdmitClient("phone", "phone", "member"))
    with pytest.raises(Refused):
        graph.write("alpha", [admitted], op)


def test_a_removed_devices_key_never_returns_as_a_client() -> None:
    graph = Graph.found(["alpha"], [add("bravo")])
    removed = graph.write("alpha", [graph.first], Remove("bravo"))
    with pytest.raises(Refused, match="plain client"):
        graph.write("alpha", [removed], AdmitClient("bravo", "bravo", "member"))


def test_a_lost_device_is_replaced_in_one_entry(alpha: Device) -> None:
    lost = join(alpha, "bravo", "observer")
    epoch = alpha.team.epoch
    new = identity()
    alpha.say(alpha.team.admit(new.bundle_event(NOW), "a new laptop", "observer", NOW, replaces=lost.npub))
    assert alpha.roles() == {"alpha": "admin", "bravo": "observer"}
    member = alpha.team.member(new.npub)
    assert member is not None
    assert member.name == "bravo"
    assert alpha.team.role_of(lost.npub) is None
    assert alpha.team.epoch == epoch + 1
    found = alpha.team.load(new, list(alpha.log.values()), alpha.team._provider, alpha.team.team_id)
    assert found is not None
    note = alpha.team.seal_note("hello", NOW)
    assert found.open_note(note).text == "hello"


def test_only_a_device_that_the_entry_removes_can_be_replaced() -> None:
    graph = Graph.found(["alpha"], [add("bravo")])
    new = Add("new", "new", "member", BUNDLE + "new", replaces="bravo")
    with pytest.raises(Refused, match="replaces one that the same entry removes"):
        graph.write("alpha", [graph.first], new)


def test_who_does_not_belong_cannot_be_replaced(alpha: Device) -> None:
    new = identity()
    with pytest.raises(Refused, match="does not belong"):
        alpha.team.admit(new.bundle_event(NOW), "new", "member", NOW, replaces=PHONE)


def test_a_key_admitted_here_as_a_device_and_there_as_a_client_is_a_client_and_can_be_removed() -> None:
    alpha = founder()
    bravo = join(alpha, "bravo", "admin")
    sync(alpha, bravo)
    other = identity()
    alpha.say(alpha.team.admit(other.bundle_event(NOW), "other", "member", NOW))
    bravo.say(bravo.team.admit_client(other.npub, "phone", "member", NOW))
    sync(alpha, bravo)
    assert [client.npub for client in alpha.team.clients()] == [other.npub]
    assert alpha.team.member(other.npub) is None
    assert alpha.team.device_for_key(other.bundle.mldsa_public) is None
    assert alpha.team.rotation_due  # it was given the key as a device
    alpha.say(alpha.team.remove(other.npub, NOW))
    sync(alpha, bravo)
    assert bravo.team.clients() == ()
    assert alpha.team.rotation_due
