"""Any bytes, in the place of any that come from outside: a value or an error of ours, nothing else."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import Fatal, MeshconsoleError, RemoteError
from meshconsole.crypto.hybrid import verify_control
from meshconsole.crypto.keystore import Keystore, device_secret_path
from meshconsole.crypto.openssl_provider import OpensslProvider
from meshconsole.crypto.schnorr import npub_from_bech32, nsec_from_bech32
from meshconsole.crypto.sealing import unpad
from meshconsole.crypto.suites import MC1, SUITES, Suite, suite_by_id

from .conftest import fixed_identity

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.crypto.passphrase import KdfParams
    from meshconsole.crypto.provider import Provider

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SUITE = st.sampled_from(SUITES)
CONTEXT = b"mc/test/v1"


def about(length: int) -> st.SearchStrategy[bytes]:
    """Random bytes of just this length or a few more or fewer, and small ones of any shape."""
    near = st.tuples(st.binary(max_size=16), st.sampled_from((0, 0, 0, -2, -1, 1, 2)))
    return near.map(lambda drawn: hashlib.shake_256(drawn[0]).digest(length + drawn[1])) | st.binary(
        max_size=200
    )


@MANY
@given(suite=SUITE, data=st.data())
def test_any_wrap(provider: Provider, suite: Suite, data: st.DataObject) -> None:
    wrap = data.draw(about(suite.wrap_overhead + 32))
    with pytest.raises(RemoteError) as caught:
        provider.hpke_open(suite, b"k" * suite.kem_seed_len, b"info", wrap)
    assert caught.value.code == "bad-wrap"


@MANY
@given(suite=SUITE, data=st.data())
def test_any_kem_key(provider: Provider, suite: Suite, data: st.DataObject) -> None:
    public = data.draw(about(suite.kem_public_len))
    sound = provider.kem_public_is_sound(suite, public)
    try:
        provider.hpke_seal(suite, public, b"info", b"secret")
    except RemoteError:
        assert not sound
    else:
        assert sound


@MANY
@given(suite=SUITE, data=st.data())
def test_any_signature_under_any_key(provider: Provider, suite: Suite, data: st.DataObject) -> None:
    public = data.draw(about(suite.mldsa_public_len))
    signature = data.draw(about(suite.signature_len))
    assert not provider.mldsa_verify(suite, public, signature, b"message", CONTEXT)


TAGS = st.lists(st.lists(st.text(max_size=20), max_size=4).map(tuple), max_size=4).map(tuple)
HYBRID_TAGS = st.builds(
    lambda tags, suite, text, place: (*tags[:place], ("pqsig", suite, text), *tags[place:]),
    TAGS,
    st.sampled_from(["1", "2", "3", "", "01", "1 "]),
    st.text(max_size=100),
    st.integers(0, 4),
)


@MANY
@given(tags=st.one_of(TAGS, HYBRID_TAGS), content=st.text(max_size=100), kind=st.integers(0, 65_535))
def test_any_control_event(tags: tuple[tuple[str, ...], ...], content: str, kind: int) -> None:
    me = fixed_identity("alice", MC1)
    signed: Event = me.sign(kind, tags, content, 5)
    with pytest.raises(MeshconsoleError):
        verify_control(signed, MC1, me.mldsa_public, CONTEXT, OpensslProvider())


@given(st.binary(max_size=600))
def test_any_padding(data: bytes) -> None:
    try:
        assert len(unpad(data)) <= len(data)
    except RemoteError:
        return


@given(st.text(max_size=200))
def test_any_key_that_is_pasted(text: str) -> None:
    for read in (npub_from_bech32, nsec_from_bech32):
        try:
            read(text)
        except MeshconsoleError:
            continue


@given(st.integers())
def test_any_suite(number: int) -> None:
    try:
        assert suite_by_id(number).id == number
        assert number in (1, 2)
    except MeshconsoleError:
        assert number not in (1, 2)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@MANY
@given(content=st.one_of(st.binary(max_size=400), JSON.map(lambda value: json.dumps(value).encode())))
def test_any_keystore(tmp_path: Path, cheap_kdf: KdfParams, content: bytes) -> None:
    del cheap_kdf
    path = tmp_path / "keystore"
    path.write_bytes(content)
    device_secret_path(path).write_bytes(bytes(32))
    with pytest.raises(Fatal):
        Keystore.unlock(path, "correct horse")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 16_000,
        b'{"a":' * 3_000,
        b'{"version":1,"passphrase":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
        b'{"more":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
        b"\xff\xfe" + b"{" * 100,
        b"1" * 16_000,
        b'{"version":1e999}',
        b"",
    ],
    ids=["lists", "objects", "in a field", "in a stranger", "no UTF-8", "digits", "infinite", "nothing"],
)
def test_hostile_nesting_of_a_keystore(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keystore"
    path.write_bytes(content)
    device_secret_path(path).write_bytes(bytes(32))
    with pytest.raises(Fatal):
        Keystore.unlock(path, "correct horse")


@MANY
@given(device=about(32), keyfile=st.binary(max_size=5000))
def test_any_device_secret_and_key_file(
    tmp_path: Path, cheap_kdf: KdfParams, device: bytes, keyfile: bytes
) -> None:
    path = tmp_path / "keystore"
    if not path.exists():
        Keystore.create(path, "correct horse", params=cheap_kdf)
    device_secret_path(path).write_bytes(device)
    (tmp_path / "key").write_bytes(keyfile)
    for given_ in (("correct horse", None), (None, tmp_path / "key")):
        with pytest.raises(Fatal):
            Keystore.unlock(path, *given_)
