"""A key bundle is bound in both directions: no key in it can be put beside another's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.core.kinds import KEY_BUNDLE, ROSTER_ENTRY
from meshconsole.crypto.bundle import BUNDLE_CONTEXT, KeyBundle, bundle_tags, fingerprint, open_bundle
from meshconsole.crypto.encoding import b64, lp
from meshconsole.crypto.suites import MC1, MC2, SUITES, Suite

from .conftest import fixed_identity

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider


def signed(identity: Identity, body: bytes, kind: int = KEY_BUNDLE, context: bytes = BUNDLE_CONTEXT) -> Event:
    return identity.sign_control(kind, bundle_tags(identity.suite), b64(body), 0, context)


def body_of(identity: Identity, **changes: bytes | int | str) -> bytes:
    parts: dict[str, bytes | int | str] = {
        "label": "mc/bundle/v1",
        "suite": identity.suite.id,
        "npub": bytes.fromhex(identity.npub),
        "mldsa": identity.mldsa_public,
        "kem": identity.kem_public,
    }
    return lp(*(parts | changes).values())


def test_a_bundle_opens_to_the_keys(alice: Identity, provider: Provider) -> None:
    bundle = open_bundle(alice.bundle_event(1_700_000_000), provider)
    assert bundle == alice.bundle
    assert bundle.hash == alice.bundle_hash
    assert (bundle.npub, bundle.mldsa_public, bundle.kem_public) == (
        alice.npub,
        alice.mldsa_public,
        alice.kem_public,
    )


def test_its_size_leaves_room_in_an_event(suite: Suite) -> None:
    event = fixed_identity("alice", suite).bundle_event(1_700_000_000)
    assert len(msgspec.json.encode(event)) < 12_300


def test_the_hash_does_not_depend_on_the_time(alice: Identity) -> None:
    one, other = (open_bundle(alice.bundle_event(at), alice.provider) for at in (1, 2))
    assert one.hash == other.hash


def test_the_hash_covers_every_key(alice: Identity, bob: Identity) -> None:
    bundle = alice.bundle
    hashes = {
        KeyBundle(bundle.suite, bundle.npub, bundle.mldsa_public, bundle.kem_public).hash,
        KeyBundle(bundle.suite, bob.npub, bundle.mldsa_public, bundle.kem_public).hash,
        KeyBundle(bundle.suite, bundle.npub, bob.mldsa_public, bundle.kem_public).hash,
        KeyBundle(bundle.suite, bundle.npub, bundle.mldsa_public, bob.kem_public).hash,
    }
    assert len(hashes) == 4


def refused(event: Event, identity: Identity, sentence: str = ".") -> None:
    with pytest.raises(Refused, match=sentence) as caught:
        open_bundle(event, identity.provider)
    assert caught.value.code in ("invalid", "unsupported")


def test_anothers_bundle_under_my_name_is_refused(alice: Identity, mallory: Identity) -> None:
    content = alice.bundle_event(0).content
    stolen = mallory.sign_control(KEY_BUNDLE, bundle_tags(mallory.suite), content, 0, BUNDLE_CONTEXT)
    refused(stolen, mallory, "another author")


def test_anothers_signature_key_is_refused(alice: Identity, mallory: Identity) -> None:
    """Mallory has no ML-DSA signature by Alice's key over Mallory's name."""
    refused(signed(mallory, body_of(mallory, mldsa=alice.mldsa_public)), mallory, "ML-DSA")


def test_a_replaced_kem_key_is_refused(alice: Identity, mallory: Identity) -> None:
    """Who has broken secp256k1 alone cannot redirect what is wrapped for Alice."""
    event = alice.bundle_event(0)
    swapped = alice.sign(event.kind, event.tags, b64(body_of(alice, kem=mallory.kem_public)), 0)
    refused(swapped, alice, "ML-DSA")


def test_an_unsound_kem_key_is_refused(alice: Identity) -> None:
    unreduced = b"\xff" * 3 + alice.kem_public[3:]
    refused(signed(alice, body_of(alice, kem=unreduced)), alice, "receiving secrets")


def test_malformed_bundles_are_refused(alice: Identity) -> None:
    good = body_of(alice)
    for body, sentence in (
        (b"", "malformed"),
        (good[:-1], "runs past"),
        (good + b"\0\0\0\0", "malformed or of a newer"),
        (body_of(alice, label="mc/bundle/v2"), "newer version"),
        (body_of(alice, suite=9), "not known"),
        (body_of(alice, suite=b"\1"), "wrong length"),
        (body_of(alice, mldsa=alice.mldsa_public[:-1]), "wrong length"),
        (body_of(alice, kem=alice.kem_public + b"\0"), "wrong length"),
        (body_of(alice, npub=b""), "another author"),
    ):
        refused(signed(alice, body), alice, sentence)


def test_another_kind_context_or_tags_is_refused(alice: Identity) -> None:
    body = body_of(alice)
    refused(signed(alice, body, kind=ROSTER_ENTRY), alice, "not a key bundle")
    refused(signed(alice, body, context=b"mc/roster/v1"), alice, "ML-DSA")
    untagged = alice.sign_control(KEY_BUNDLE, (), b64(body), 0, BUNDLE_CONTEXT)
    refused(untagged, alice, "unexpected tags")
    refused(alice.sign(KEY_BUNDLE, (), b64(body), 0), alice)


def test_an_oversized_bundle_is_refused_before_it_is_read(alice: Identity) -> None:
    refused(signed(alice, bytes(9000)), alice, "not a key bundle")


def test_the_other_suites_label_is_refused() -> None:
    one = fixed_identity("alice", MC1)
    two = fixed_identity("alice", MC2)
    relabelled = lp("mc/bundle/v1", MC2.id, bytes.fromhex(one.npub), two.mldsa_public, two.kem_public)
    event = one.sign_control(KEY_BUNDLE, bundle_tags(MC2), b64(relabelled), 0, BUNDLE_CONTEXT)
    refused(event, one, "another cryptographic suite")


@settings(deadline=None, max_examples=50)
@given(content=st.text(max_size=300), suite=st.sampled_from(SUITES))
def test_any_content_is_refused(content: str, suite: Suite) -> None:
    identity = fixed_identity("alice", suite)
    refused(identity.sign(KEY_BUNDLE, bundle_tags(suite), content, 0), identity)


def test_a_fingerprint_is_eight_groups_of_four() -> None:
    assert fingerprint(bytes(32)) == " ".join(["0000"] * 8)
    assert fingerprint(b"\xff" * 32) == " ".join(["ZZZZ"] * 8)
    assert fingerprint(bytes(19) + b"\1" + bytes(12)) == " ".join(["0000"] * 7 + ["0001"])


@given(st.binary(min_size=32, max_size=32), st.integers(0, 159))
def test_every_one_of_its_160_bits_is_seen(digest: bytes, bit: int) -> None:
    changed = bytearray(digest)
    changed[bit // 8] ^= 1 << bit % 8
    assert fingerprint(bytes(changed)) != fingerprint(digest)
    assert not set(fingerprint(digest)) & set("ILOU")
