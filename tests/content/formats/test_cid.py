from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.formats.cid import (
    DAG_PB,
    IDENTITY,
    RAW,
    SHA2_256,
    SHA2_512,
    Cid,
    Prefix,
    multihash_matches,
)
from meshconsole.content.formats.multibase import decode_base32, decode_base58, encode_base32, encode_base58
from meshconsole.core.errors import RemoteError

EMPTY_RAW = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
EMPTY_FILE_V0 = "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"

cids = st.one_of(
    st.builds(
        Cid,
        st.just(1),
        st.sampled_from([RAW, DAG_PB, 0x71]),
        st.just(SHA2_256),
        st.binary(min_size=32, max_size=32),
    ),
    st.builds(Cid, st.just(1), st.just(RAW), st.just(SHA2_512), st.binary(min_size=64, max_size=64)),
    st.builds(Cid, st.just(0), st.just(DAG_PB), st.just(SHA2_256), st.binary(min_size=32, max_size=32)),
    st.builds(Cid, st.just(1), st.just(RAW), st.just(IDENTITY), st.binary(max_size=128)),
    st.builds(Cid, st.just(1), st.integers(0, 1 << 40), st.just(0xB220), st.binary(max_size=64)),
)


def test_known_names() -> None:
    assert str(Cid.of(RAW, b"")) == EMPTY_RAW
    assert str(Cid.v0(bytes.fromhex("0a0408021800"))) == EMPTY_FILE_V0
    assert str(Cid.of(RAW, b"hello world")) == "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
    # multiformats/cid, README: the human-readable example
    example = Cid.parse("zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA")
    assert (example.version, example.codec, example.hash_code) == (1, RAW, SHA2_256)
    assert example.digest.hex().startswith("6e6ff7950a36187a")


def test_identity_cid_of_the_gateway_probe() -> None:
    probe = Cid.parse("bafkqaaa")
    assert probe.hash_code == IDENTITY
    assert probe.digest == b""
    assert probe.matches(b"")
    assert not probe.matches(b"x")


@given(cids)
def test_bytes_and_text_round_trip(cid: Cid) -> None:
    assert Cid.decode(cid.encode()) == cid
    assert Cid.parse(str(cid)) == cid
    assert Cid.read(b"ab" + cid.encode() + b"c", 2) == (cid, 2 + len(cid.encode()))


@given(cids.filter(lambda cid: cid.version == 1))
def test_base58_text_is_read_too(cid: Cid) -> None:
    assert Cid.parse("z" + encode_base58(cid.encode())) == cid


@given(st.binary(max_size=80))
def test_any_bytes_decode_canonically_or_are_refused(data: bytes) -> None:
    try:
        cid = Cid.decode(data)
    except RemoteError:
        return
    assert cid.encode() == data


@given(st.one_of(st.text(max_size=80), st.from_regex(r"[bz][a-z2-7]{1,70}", fullmatch=True)))
def test_any_text_parses_canonically_or_is_refused(text: str) -> None:
    try:
        cid = Cid.parse(text)
    except RemoteError:
        return
    assert text in (str(cid), "z" + encode_base58(cid.encode()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Qm",
        EMPTY_FILE_V0[:-1],
        EMPTY_FILE_V0[:-1] + "0",  # not in the alphabet
        "z" + EMPTY_FILE_V0,  # version 0 has no multibase letter
        "b" + encode_base32(Cid.v0(b"").encode()),
        EMPTY_RAW.upper(),
        EMPTY_RAW + "=",
        EMPTY_RAW[:-1],
        EMPTY_RAW[:-1] + "v",  # the spare bits are not zero
        EMPTY_RAW + "aa",
        "f01551220" + "00" * 32,
        "b" + "a" * 300,
        "ipfs://" + EMPTY_RAW,
    ],
)
def test_refuses_text(text: str) -> None:
    with pytest.raises(RemoteError) as error:
        Cid.parse(text)
    assert error.value.code == "bad-cid"


@pytest.mark.parametrize(
    "data",
    [
        "",
        "01",
        "0155",
        "01551220",
        "01551220" + "00" * 31,
        "01551220" + "00" * 33,
        "0155121f" + "00" * 31,  # a shortened digest
        "01551340" + "00" * 32,
        "02551220" + "00" * 32,
        "0070" + "1220" + "00" * 32,  # version 0 is never written out
        "8100551220" + "00" * 32,  # a varint longer than needed
        "0155008101" + "00" * 129,
    ],
)
def test_refuses_bytes(data: str) -> None:
    with pytest.raises(RemoteError):
        Cid.decode(bytes.fromhex(data))


@given(st.binary(max_size=64), st.sampled_from([SHA2_256, SHA2_512]), st.sampled_from([RAW, DAG_PB]))
def test_a_prefix_names_data(data: bytes, hash_code: int, codec: int) -> None:
    prefix = Prefix(1, codec, hash_code)
    cid = Prefix.decode(prefix.encode()).name(data)
    assert cid.prefix == prefix
    assert cid.matches(data)
    assert not cid.matches(data + b"!")
    assert multihash_matches(cid.multihash, data)
    assert not multihash_matches(cid.multihash, data + b"!")
    assert cid.digest == hashlib.new({SHA2_256: "sha256", SHA2_512: "sha512"}[hash_code], data).digest()


def test_the_prefix_of_version_0() -> None:
    prefix = Cid.v0(b"").prefix
    assert prefix.encode() == bytes.fromhex("00701220")
    assert Prefix.decode(prefix.encode()).name(b"") == Cid.v0(b"")


@given(st.binary(max_size=8))
def test_any_prefix_decodes_or_is_refused(data: bytes) -> None:
    try:
        prefix = Prefix.decode(data)
    except RemoteError:
        return
    if prefix.is_supported and prefix.hash_code != IDENTITY:
        assert prefix.encode() == data


def test_an_unknown_hash_is_named_but_not_checked() -> None:
    cid = Cid(1, RAW, 0xB220, bytes(32))
    assert not cid.prefix.is_supported
    with pytest.raises(RemoteError) as error:
        cid.matches(b"")
    assert error.value.code == "unsupported-hash"


@given(st.binary(max_size=80))
def test_multibase_round_trips(data: bytes) -> None:
    assert decode_base32(encode_base32(data)) == data
    assert decode_base58(encode_base58(data)) == data
