"""Both signatures or nothing: every way to have only one of them is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from meshconsole.core.errors import LocalError, Refused
from meshconsole.core.kinds import ROSTER_ENTRY
from meshconsole.crypto.hybrid import hybrid_message, signature_tag, verify_control
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.suites import HYBRID_TAG, MC1, MC2, Suite

from .conftest import fixed_identity

if TYPE_CHECKING:
    from meshconsole.core.event import Event, Tags
    from meshconsole.crypto.provider import Provider

CONTEXT = b"mc/roster/v1"
TAGS = (("t", "abcd"), ("e", "00" * 32))


def signed(identity: Identity, content: str = "add bob") -> Event:
    return identity.sign_control(ROSTER_ENTRY, TAGS, content, 1_700_000_000, CONTEXT)


def check(event: Event, identity: Identity, context: bytes = CONTEXT) -> None:
    verify_control(event, identity.suite, identity.mldsa_public, context, identity.provider)


def resigned(identity: Identity, event: Event, *, tags: Tags | None = None, content: str = "") -> Event:
    """What somebody makes who has broken secp256k1: any id and Nostr signature, no ML-DSA one."""
    new_tags = event.tags if tags is None else tags
    return identity.sign(event.kind, new_tags, content or event.content, event.created_at)


def refused(event: Event, identity: Identity, sentence: str, context: bytes = CONTEXT) -> None:
    with pytest.raises(Refused, match=sentence) as caught:
        check(event, identity, context)
    assert caught.value.code == "invalid"


def test_a_control_event_verifies(alice: Identity) -> None:
    event = signed(alice)
    check(event, alice)
    assert event.tags[:-1] == TAGS
    assert event.tags[-1][:2] == (HYBRID_TAG, str(alice.suite.id))


def test_each_provider_verifies_it(alice: Identity, provider: Provider) -> None:
    event = signed(alice)
    verify_control(event, alice.suite, alice.mldsa_public, CONTEXT, provider)


def test_stripped_of_its_post_quantum_signature_it_is_refused(alice: Identity) -> None:
    refused(resigned(alice, signed(alice), tags=TAGS), alice, "exactly one")


def test_a_remade_nostr_signature_over_other_content_is_refused(alice: Identity) -> None:
    refused(resigned(alice, signed(alice), content="remove everybody"), alice, "ML-DSA")


def test_other_tags_under_a_remade_nostr_signature_are_refused(alice: Identity) -> None:
    event = signed(alice)
    refused(resigned(alice, event, tags=(TAGS[1], TAGS[0], event.tags[-1])), alice, "ML-DSA")
    refused(resigned(alice, event, tags=event.tags[1:]), alice, "ML-DSA")


def test_the_signature_moved_to_another_place_is_refused(alice: Identity) -> None:
    """Otherwise one entry could be given a second id."""
    event = signed(alice)
    refused(resigned(alice, event, tags=(event.tags[-1], *TAGS)), alice, "last tag")


def test_two_signatures_are_refused(alice: Identity) -> None:
    event = signed(alice)
    refused(resigned(alice, event, tags=(*event.tags, event.tags[-1])), alice, "exactly one")


def test_the_same_signature_in_another_spelling_is_refused(alice: Identity) -> None:
    event = signed(alice)
    _, number, text = event.tags[-1]
    for tag in (
        (HYBRID_TAG, number, text + "\n"),
        (HYBRID_TAG, f"0{number}", text),
        (HYBRID_TAG, number, text, ""),
        (HYBRID_TAG, number),
        (HYBRID_TAG,),
        (HYBRID_TAG, number, ""),
        (HYBRID_TAG, number, text[:-4]),
        (HYBRID_TAG, number, "!"),
    ):
        with pytest.raises(Refused):
            check(resigned(alice, event, tags=(*TAGS, tag)), alice)


def test_a_wrong_nostr_signature_is_refused(alice: Identity, bob: Identity) -> None:
    event = signed(alice)
    forged = msgspec.structs.replace(event, sig=signed(bob).sig)
    refused(forged, alice, "Nostr signature")
    refused(msgspec.structs.replace(event, id="00" * 32), alice, "Nostr signature")


def test_a_stolen_nostr_key_alone_is_refused(alice: Identity, suite: Suite) -> None:
    """The thief signs with a post-quantum key of their own."""
    thief = Identity(b"t" * 32, suite, alice.provider, nsec=alice.nsec)
    assert thief.npub == alice.npub
    refused(signed(thief), alice, "ML-DSA")


def test_a_stolen_post_quantum_key_alone_is_refused(alice: Identity, suite: Suite) -> None:
    """The thief has the ML-DSA key and another Nostr key: the event is not by Alice."""
    thief = Identity(alice.seed, suite, alice.provider, nsec=b"\7" * 32)
    event = signed(thief)
    assert event.pubkey != alice.npub
    stolen = msgspec.structs.replace(event, pubkey=alice.npub)
    refused(stolen, alice, "Nostr signature")


def test_the_signature_names_the_author(alice: Identity, bob: Identity) -> None:
    """Alice's ML-DSA signature under Bob's Nostr signature is neither's."""
    event = signed(alice)
    refused(resigned(bob, event), alice, "ML-DSA")


def test_another_context_is_refused(alice: Identity) -> None:
    refused(signed(alice), alice, "ML-DSA", context=b"mc/checkpoint/v1")


def test_another_suite_is_refused() -> None:
    one, two = fixed_identity("alice", MC1), fixed_identity("alice", MC2)
    with pytest.raises(Refused, match="another cryptographic suite"):
        verify_control(signed(one), MC2, two.mldsa_public, CONTEXT, two.provider)
    with pytest.raises(Refused, match="another cryptographic suite"):
        verify_control(signed(two), MC1, one.mldsa_public, CONTEXT, one.provider)


def test_a_relabelled_suite_is_refused() -> None:
    two = fixed_identity("alice", MC2)
    event = signed(two)
    relabelled = resigned(two, event, tags=(*TAGS, (HYBRID_TAG, "1", event.tags[-1][2])))
    with pytest.raises(Refused, match="wrong length"):
        verify_control(relabelled, MC1, fixed_identity("alice", MC1).mldsa_public, CONTEXT, two.provider)


def test_every_flipped_bit_of_the_post_quantum_signature_is_refused(alice: Identity) -> None:
    event = signed(alice)
    message = hybrid_message(alice.suite, alice.npub, event.created_at, event.kind, TAGS, event.content)
    signature = alice.provider.mldsa_sign(alice.suite, alice.mldsa_seed, message, CONTEXT)
    for at in range(0, len(signature), 331):
        changed = signature[:at] + bytes([signature[at] ^ 0x80]) + signature[at + 1 :]
        refused(resigned(alice, event, tags=(*TAGS, signature_tag(alice.suite, changed))), alice, "ML-DSA")


def test_signing_twice_is_our_fault(alice: Identity) -> None:
    with pytest.raises(LocalError):
        alice.sign_control(ROSTER_ENTRY, signed(alice).tags, "", 0, CONTEXT)


def test_empty_tags_do_not_confuse_it(alice: Identity) -> None:
    event = alice.sign_control(ROSTER_ENTRY, ((), ("",)), "x", 0, CONTEXT)
    check(event, alice)
    refused(alice.sign(ROSTER_ENTRY, ((),), "x", 0), alice, "exactly one")
