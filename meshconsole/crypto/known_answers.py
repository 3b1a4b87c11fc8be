"""The known-answer test that a provider passes before it is used. Takes about 10 ms.

For each suite `known_answers.json` holds one signature and one HPKE wrap made beforehand, with the
hashes of the public keys that belong to the seeds below; so keys, verification and decapsulation
are compared with fixed bytes, and signing and encapsulation with the way back.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from meshconsole.crypto.suites import SUITES, Suite

if TYPE_CHECKING:
    from meshconsole.crypto.provider import Provider

MESSAGE = b"meshconsole known answer"
CONTEXT = b"mc/known-answer/v1"
OTHER_CONTEXT = b"mc/known-answer/v0"
SECRET = bytes(range(32))


class KnownAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes as base64, hashes as SHA-256 in hex."""

    suite: int
    mldsa_public_sha256: str
    kem_public_sha256: str
    signature: bytes
    wrap: bytes


def signing_seed(suite: Suite) -> bytes:
    return hashlib.sha256(b"known answer signing seed %d" % suite.id).digest()


def kem_seed(suite: Suite) -> bytes:
    return hashlib.shake_256(b"known answer kem seed %d" % suite.id).digest(suite.kem_seed_len)


def check_provider(provider: Provider) -> str:
    """Why the provider may not be used, or "" when every answer is right."""
    try:
        answers = _load()
        for suite in SUITES:
            if reason := _check(provider, suite, answers[suite.id]):
                return reason
    except Exception as error:
        # Whatever a broken or incomplete library raises is an answer too: it is not to be used.
        return f"it stopped with {type(error).__name__}"
    return ""


def _load() -> dict[int, KnownAnswer]:
    raw = Path(__file__).with_name("known_answers.json").read_bytes()  # resources would load archives
    return {answer.suite: answer for answer in msgspec.json.decode(raw, type=list[KnownAnswer])}


def _check(provider: Provider, suite: Suite, answer: KnownAnswer) -> str:
    public = provider.mldsa_public(suite, signing_seed(suite))
    kem_public = provider.kem_public(suite, kem_seed(suite))
    if hashlib.sha256(public).hexdigest() != answer.mldsa_public_sha256:
        return f"{suite.mldsa} derives a wrong key"
    if hashlib.sha256(kem_public).hexdigest() != answer.kem_public_sha256:
        return f"{suite.kem} derives a wrong key"
    if not provider.mldsa_verify(suite, public, answer.signature, MESSAGE, CONTEXT):
        return f"{suite.mldsa} refuses a good signature"
    if provider.mldsa_verify(suite, public, answer.signature, MESSAGE, OTHER_CONTEXT):
        return f"{suite.mldsa} takes a signature made in another context"
    signature = provider.mldsa_sign(suite, signing_seed(suite), MESSAGE, CONTEXT)
    if not provider.mldsa_verify(suite, public, signature, MESSAGE, CONTEXT):
        return f"{suite.mldsa} refuses its own signature"
    if provider.hpke_open(suite, kem_seed(suite), CONTEXT, answer.wrap) != SECRET:
        return f"{suite.kem} opens a known wrap to a wrong secret"
    wrap = provider.hpke_seal(suite, kem_public, CONTEXT, SECRET)
    if provider.hpke_open(suite, kem_seed(suite), CONTEXT, wrap) != SECRET:
        return f"{suite.kem} does not open its own wrap"
    return ""
