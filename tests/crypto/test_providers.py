"""One conformance suite for both providers, and what each makes is read by the other."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import LocalError, RemoteError
from meshconsole.crypto.suites import MC1, MC2, Suite

if TYPE_CHECKING:
    from meshconsole.crypto.liboqs_provider import LiboqsProvider
    from meshconsole.crypto.openssl_provider import OpensslProvider
    from meshconsole.crypto.provider import Provider

SEED = b"s" * 32
CONTEXT = b"mc/test/v1"
INFO = b"what it is for"
SECRET = bytes(range(32))


def kem_seed(suite: Suite, fill: bytes = b"k") -> bytes:
    return fill * suite.kem_seed_len


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_signature_verifies(provider: Provider, suite: Suite) -> None:
    public = provider.mldsa_public(suite, SEED)
    signature = provider.mldsa_sign(suite, SEED, b"message", CONTEXT)
    assert provider.mldsa_verify(suite, public, signature, b"message", CONTEXT)


def test_a_signature_is_for_one_key_message_and_context(provider: Provider, suite: Suite) -> None:
    public = provider.mldsa_public(suite, SEED)
    signature = provider.mldsa_sign(suite, SEED, b"message", CONTEXT)
    other = provider.mldsa_public(suite, b"t" * 32)
    assert not provider.mldsa_verify(suite, other, signature, b"message", CONTEXT)
    assert not provider.mldsa_verify(suite, public, signature, b"massage", CONTEXT)
    assert not provider.mldsa_verify(suite, public, signature, b"message", CONTEXT + b"x")
    # FIPS 204 separates context and message; a plain concatenation would not.
    assert not provider.mldsa_verify(suite, public, signature, b"1message", CONTEXT[:-1])


def test_a_changed_signature_does_not_verify(provider: Provider, suite: Suite) -> None:
    public = provider.mldsa_public(suite, SEED)
    signature = provider.mldsa_sign(suite, SEED, b"message", CONTEXT)
    for at in range(0, len(signature), 397):
        assert not provider.mldsa_verify(suite, public, flip(signature, at), b"message", CONTEXT)


@pytest.mark.parametrize("change", [-1, 1], ids=["shorter", "longer"])
def test_keys_and_signatures_of_another_length_do_not_verify(
    provider: Provider, suite: Suite, change: int
) -> None:
    def resized(data: bytes) -> bytes:
        return data[:-1] if change < 0 else data + b"\0"

    public = provider.mldsa_public(suite, SEED)
    signature = provider.mldsa_sign(suite, SEED, b"message", CONTEXT)
    assert not provider.mldsa_verify(suite, resized(public), signature, b"message", CONTEXT)
    assert not provider.mldsa_verify(suite, public, resized(signature), b"message", CONTEXT)
    assert not provider.mldsa_verify(suite, b"", b"", b"message", CONTEXT)


def test_a_signature_of_one_suite_is_none_of_the_other(provider: Provider) -> None:
    public = provider.mldsa_public(MC2, SEED)
    signature = provider.mldsa_sign(MC1, SEED, b"message", CONTEXT)
    assert not provider.mldsa_verify(MC2, public, signature, b"message", CONTEXT)


@pytest.mark.parametrize("context", [b"", b"c" * 256], ids=["empty", "256 bytes"])
def test_a_context_out_of_bounds_is_our_fault(provider: Provider, suite: Suite, context: bytes) -> None:
    public = provider.mldsa_public(suite, SEED)
    with pytest.raises(LocalError):
        provider.mldsa_sign(suite, SEED, b"message", context)
    with pytest.raises(LocalError):
        provider.mldsa_verify(suite, public, bytes(suite.signature_len), b"message", context)


def test_the_longest_context_works(provider: Provider, suite: Suite) -> None:
    context = b"c" * 255
    public = provider.mldsa_public(suite, SEED)
    signature = provider.mldsa_sign(suite, SEED, b"", context)
    assert provider.mldsa_verify(suite, public, signature, b"", context)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_signing_seed_of_another_length_is_our_fault(provider: Provider, suite: Suite, length: int) -> None:
    with pytest.raises(LocalError):
        provider.mldsa_public(suite, bytes(length))
    with pytest.raises(LocalError):
        provider.mldsa_sign(suite, bytes(length), b"message", CONTEXT)


def test_signatures_are_hedged(provider: Provider, suite: Suite) -> None:
    """Two signatures of one message differ: the randomness is the system's again after each key."""
    one = provider.mldsa_sign(suite, SEED, b"message", CONTEXT)
    assert one != provider.mldsa_sign(suite, SEED, b"message", CONTEXT)


def test_a_wrap_opens(provider: Provider, suite: Suite) -> None:
    public = provider.kem_public(suite, kem_seed(suite))
    wrap = provider.hpke_seal(suite, public, INFO, SECRET)
    assert len(wrap) == len(SECRET) + suite.wrap_overhead
    assert provider.hpke_open(suite, kem_seed(suite), INFO, wrap) == SECRET
    assert wrap != provider.hpke_seal(suite, public, INFO, SECRET)


def test_a_wrap_is_for_one_key_and_use(provider: Provider, suite: Suite) -> None:
    public = provider.kem_public(suite, kem_seed(suite))
    wrap = provider.hpke_seal(suite, public, INFO, SECRET)
    with pytest.raises(RemoteError) as caught:
        provider.hpke_open(suite, kem_seed(suite, b"K"), INFO, wrap)
    assert caught.value.code == "bad-wrap"
    with pytest.raises(RemoteError):
        provider.hpke_open(suite, kem_seed(suite), INFO + b"x", wrap)


def test_a_changed_wrap_does_not_open(provider: Provider, suite: Suite) -> None:
    public = provider.kem_public(suite, kem_seed(suite))
    wrap = provider.hpke_seal(suite, public, INFO, SECRET)
    spots = [*range(0, len(wrap), 149), suite.enc_len - 1, suite.enc_len, len(wrap) - 1]
    for at in spots:
        with pytest.raises(RemoteError):
            provider.hpke_open(suite, kem_seed(suite), INFO, flip(wrap, at))


def test_a_wrap_of_another_length_does_not_open(provider: Provider, suite: Suite) -> None:
    public = provider.kem_public(suite, kem_seed(suite))
    wrap = provider.hpke_seal(suite, public, INFO, SECRET)
    for wrong in (b"", wrap[:-1], wrap + b"\0", wrap[: suite.enc_len], wrap[: suite.wrap_overhead - 1]):
        with pytest.raises(RemoteError):
            provider.hpke_open(suite, kem_seed(suite), INFO, wrong)


def test_a_kem_seed_of_another_length_is_our_fault(provider: Provider, suite: Suite) -> None:
    for length in (0, suite.kem_seed_len - 1, suite.kem_seed_len + 1):
        with pytest.raises(LocalError):
            provider.kem_public(suite, bytes(length))
        with pytest.raises(LocalError):
            provider.hpke_open(suite, bytes(length), INFO, bytes(suite.wrap_overhead))


def test_unsound_kem_keys_are_refused(provider: Provider, suite: Suite) -> None:
    public = provider.kem_public(suite, kem_seed(suite))
    assert provider.kem_public_is_sound(suite, public)
    # Coefficients of 4095 are not reduced modulo 3329: the check of FIPS 203 §7.2.
    unreduced = b"\xff" * 3 + public[3:]
    for wrong in (unreduced, public[:-1], public + b"\0", b""):
        assert not provider.kem_public_is_sound(suite, wrong)
        with pytest.raises(RemoteError) as caught:
            provider.hpke_seal(suite, wrong, INFO, SECRET)
        assert caught.value.code == "bad-key"


def test_an_x25519_half_of_low_order_is_refused(provider: Provider) -> None:
    """Its shared secret would be zero for everybody."""
    public = provider.kem_public(MC1, kem_seed(MC1))
    assert not provider.kem_public_is_sound(MC1, public[:-32] + bytes(32))
    with pytest.raises(RemoteError):
        provider.hpke_seal(MC1, public[:-32] + bytes(32), INFO, SECRET)
    wrap = provider.hpke_seal(MC1, public, INFO, SECRET)
    zeroed = wrap[: MC1.enc_len - 32] + bytes(32) + wrap[MC1.enc_len :]
    with pytest.raises(RemoteError):
        provider.hpke_open(MC1, kem_seed(MC1), INFO, zeroed)


def test_many_threads_at_once(provider: Provider) -> None:
    """Keys made while others sign and wrap are right, and their randomness is not a seed."""
    seeds = [hashlib.sha256(bytes([n])).digest() for n in range(6)]
    expected = [provider.mldsa_public(MC1, seed) for seed in seeds]
    kem_public = provider.kem_public(MC1, kem_seed(MC1))
    signatures: list[bytes] = []
    wraps: list[bytes] = []
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(5):
            if provider.mldsa_public(MC1, seeds[number]) != expected[number]:
                wrong.append(number)
            signatures.append(provider.mldsa_sign(MC1, seeds[number], b"m", CONTEXT))
            wraps.append(provider.hpke_seal(MC1, kem_public, INFO, SECRET))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(seeds))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(set(signatures)) == 30
    assert len({wrap[: MC1.enc_len] for wrap in wraps}) == 30


def test_both_derive_the_same_keys(openssl: OpensslProvider, liboqs: LiboqsProvider, suite: Suite) -> None:
    for n in range(5):
        seed = hashlib.sha256(bytes([n])).digest()
        long_seed = hashlib.shake_256(bytes([n])).digest(suite.kem_seed_len)
        assert openssl.mldsa_public(suite, seed) == liboqs.mldsa_public(suite, seed)
        assert openssl.kem_public(suite, long_seed) == liboqs.kem_public(suite, long_seed)


def test_each_verifies_what_the_other_signs(
    openssl: OpensslProvider, liboqs: LiboqsProvider, suite: Suite
) -> None:
    public = openssl.mldsa_public(suite, SEED)
    for signer, verifier in ((openssl, liboqs), (liboqs, openssl)):
        for length in (0, 1, 1000):
            message = bytes(length)
            signature = signer.mldsa_sign(suite, SEED, message, CONTEXT)
            assert verifier.mldsa_verify(suite, public, signature, message, CONTEXT)
            assert not verifier.mldsa_verify(suite, public, signature, message, b"other")


def test_each_opens_what_the_other_wraps(
    openssl: OpensslProvider, liboqs: LiboqsProvider, suite: Suite
) -> None:
    public = openssl.kem_public(suite, kem_seed(suite))
    for wrapper, opener in ((openssl, liboqs), (liboqs, openssl)):
        for secret in (b"", SECRET, bytes(1000)):
            wrap = wrapper.hpke_seal(suite, public, INFO, secret)
            assert opener.hpke_open(suite, kem_seed(suite), INFO, wrap) == secret
