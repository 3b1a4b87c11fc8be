"""One seed gives one identity, and its keys say nothing of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import LocalError, RemoteError
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.schnorr import public_key, verify_event
from meshconsole.crypto.suites import MC1, MC2

if TYPE_CHECKING:
    from meshconsole.crypto.openssl_provider import OpensslProvider
    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.suites import Suite


def test_the_same_seed_gives_the_same_keys(suite: Suite, openssl: OpensslProvider) -> None:
    one, other = (Identity(b"s" * 32, suite, openssl) for _ in range(2))
    assert one.npub == other.npub
    assert one.bundle == other.bundle


@pytest.mark.parametrize(
    ("suite", "npub", "bundle_hash"),
    [
        (
            MC1,
            "ed5794b3e01e4880c0e34aef980cd3baf8160ac107c24de9518781c49cec21b7",
            "9af9dc42c90563163be873b0c8ab0d25ac42aea1b9546cdb027fad633c4b06d0",
        ),
        (
            MC2,
            "a3bf95f9b02ab61bd7ee40ab42fd8dbac7eadcf3eeaacdf262e29ce9f3c6f41d",
            "369eecd371610482915ab2dae6366a7222437194cf0bf2ce8e36884d8dcbff20",
        ),
    ],
    ids=["MC1", "MC2"],
)
def test_the_derivation_never_changes(suite: Suite, npub: str, bundle_hash: str, provider: Provider) -> None:
    """Another derivation would make every backup worthless."""
    identity = Identity(bytes(range(32)), suite, provider)
    assert identity.npub == npub
    assert identity.bundle_hash.hex() == bundle_hash


def test_keys_differ_by_seed_suite_and_use(openssl: OpensslProvider) -> None:
    one = Identity(b"s" * 32, MC1, openssl)
    other_seed = Identity(b"t" * 32, MC1, openssl)
    other_suite = Identity(b"s" * 32, MC2, openssl)
    assert len({one.npub, other_seed.npub, other_suite.npub}) == 3
    secrets = {i.mldsa_seed for i in (one, other_seed, other_suite)} | {one.nsec, other_suite.nsec}
    assert len(secrets) == 5


def test_generated_identities_differ(suite: Suite, openssl: OpensslProvider) -> None:
    assert Identity.generate(suite, openssl).npub != Identity.generate(suite, openssl).npub


def test_an_imported_nostr_key_replaces_the_derived_one(suite: Suite, openssl: OpensslProvider) -> None:
    nsec = b"\5" * 32
    identity = Identity(b"s" * 32, suite, openssl, nsec=nsec)
    assert identity.npub == public_key(nsec)
    assert identity.mldsa_public == Identity(b"s" * 32, suite, openssl).mldsa_public


@pytest.mark.parametrize("seed", [b"", b"s" * 31, b"s" * 33])
def test_a_seed_of_another_length_is_our_fault(seed: bytes, openssl: OpensslProvider) -> None:
    with pytest.raises(LocalError):
        Identity(seed, MC1, openssl)


def test_an_impossible_nostr_key_is_our_fault(openssl: OpensslProvider) -> None:
    with pytest.raises(LocalError):
        Identity(b"s" * 32, MC1, openssl, nsec=bytes(32))


def test_an_ordinary_event_has_the_nostr_signature_only(alice: Identity) -> None:
    event = alice.sign(1, (("t", "x"),), "hello", 5)
    assert event.pubkey == alice.npub
    assert event.tags == (("t", "x"),)
    assert verify_event(event)


def test_what_is_wrapped_for_a_device_opens_there_only(alice: Identity, bob: Identity) -> None:
    wrap = alice.provider.hpke_seal(alice.suite, bob.kem_public, b"info", b"secret")
    assert bob.open_wrapped(b"info", wrap) == b"secret"
    with pytest.raises(RemoteError):
        alice.open_wrapped(b"info", wrap)
    with pytest.raises(RemoteError):
        bob.open_wrapped(b"other", wrap)


def test_its_repr_holds_no_secret(alice: Identity) -> None:
    text = repr(alice)
    assert alice.npub[:16] in text
    for secret in (alice.seed, alice.nsec, alice.mldsa_seed):
        assert secret.hex() not in text
        assert repr(secret) not in text
