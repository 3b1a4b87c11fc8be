from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.content.exchange.bitswap import (
    MAX_ENTRIES,
    MAX_MESSAGE_BYTES,
    Message,
    Payload,
    Want,
    decode_message,
    encode_message,
)
from meshconsole.content.formats.block import MAX_BLOCK_BYTES
from meshconsole.content.formats.cid import DAG_PB, RAW, SHA2_256, SHA2_512, Cid, Prefix
from meshconsole.core.errors import RemoteError

cids = st.binary(max_size=4).map(lambda data: Cid.of(RAW, data)) | st.binary(max_size=4).map(Cid.v0)
wants = st.builds(
    Want, cids, st.booleans(), st.booleans(), st.integers(0, (1 << 31) - 1), st.integers(0, (1 << 63) - 1)
)
prefixes = st.sampled_from(
    [Prefix(1, RAW, SHA2_256), Prefix(1, DAG_PB, SHA2_512), Prefix(0, DAG_PB, SHA2_256)]
)
messages = st.builds(
    Message,
    st.lists(wants, max_size=4).map(tuple),
    st.lists(cids, max_size=3).map(tuple),
    st.lists(st.builds(Payload, prefixes, st.binary(max_size=30)), max_size=3).map(tuple),
    st.lists(cids, max_size=3).map(tuple),
    st.lists(cids, max_size=3).map(tuple),
    st.booleans(),
    st.integers(0, 1 << 31),
    st.lists(st.tuples(cids, st.integers(1, (1 << 63) - 1)), max_size=3).map(tuple),
)

CID = "01551220" + "00" * 32
ENTRY_CID = "0a24" + CID


@given(messages)
def test_round_trip(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        message = decode_message(data)
    except RemoteError:
        return
    assert decode_message(encode_message(message)) == message


@given(messages, st.data())
def test_a_damaged_message_is_decoded_or_refused(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(encode_message(message))
    if encoded:
        encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decode_message(bytes(encoded))
    except RemoteError:
        return


def test_the_form_that_other_implementations_send() -> None:
    # wantlist { entries { block, priority, wantType: Have, sendDontHave }, full }
    entry = ENTRY_CID + "1001" + "2001" + "2801"
    data = bytes.fromhex("0a30" + "0a2c" + entry + "1001")
    cid = Cid.decode(bytes.fromhex(CID))
    assert decode_message(data) == Message((Want(cid, False, True, 1),), full=True)
    assert encode_message(Message((Want(cid, False, True, 1),), full=True)) == data


def test_negative_priorities_and_unknown_fields_are_read() -> None:
    entry = ENTRY_CID + "10ffffffffffffffffff01" + "3a0101" + "4001"
    data = bytes.fromhex(
        f"0a{len(entry) // 2 + 2:02x}0a{len(entry) // 2:02x}" + entry + "320100" + "3d00000000"
    )
    (want,) = decode_message(data).wants
    assert want.block
    assert not want.send_dont_have


def test_empty_blocks_may_leave_their_data_out() -> None:
    assert decode_message(bytes.fromhex("1a060a0401551220")).payload == (
        Payload(Prefix(1, RAW, SHA2_256), b""),
    )


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param("0801", id="wantlist as a number"),
        pytest.param("0a02" + "0a00", id="entry without a CID"),
        pytest.param("0a05" + "0a03" + "0a0100", id="entry with a bad CID"),
        pytest.param("0a2a" + "0a28" + ENTRY_CID + "2002", id="unknown want type"),
        pytest.param("1203" + "010203", id="blocks of Bitswap 1.0"),
        pytest.param("1a03" + "120101", id="block without a prefix"),
        pytest.param("1a07" + "0a050155122000", id="prefix and more"),
        pytest.param("1a06" + "0a0402551220", id="prefix of an unknown version"),
        pytest.param("1a06" + "0a0401551221", id="prefix with a wrong length"),
        pytest.param("2200", id="presence without a CID"),
        pytest.param("2228" + ENTRY_CID + "1002", id="unknown presence"),
        pytest.param("2a01" + "00", id="pending bytes as bytes"),
        pytest.param("0a05" + "0a", id="ends inside the wantlist"),
    ],
)
def test_refuses(encoded: str) -> None:
    with pytest.raises(RemoteError):
        decode_message(bytes.fromhex(encoded))


def test_sizes_are_bounded() -> None:
    prefix = Prefix(1, RAW, SHA2_256)
    largest = Message(payload=(Payload(prefix, bytes(MAX_BLOCK_BYTES)),))
    assert decode_message(encode_message(largest)) == largest
    for bad in (
        encode_message(Message(payload=(Payload(prefix, bytes(MAX_BLOCK_BYTES + 1)),))),
        bytes.fromhex("320100") * (MAX_MESSAGE_BYTES // 3 + 1),
    ):
        with pytest.raises(RemoteError) as error:
            decode_message(bad)
        assert error.value.code == "oversize"


@pytest.mark.parametrize("kind", ["wants", "cancels", "payload", "haves", "dont_haves", "afar"])
def test_entries_are_bounded(kind: str) -> None:
    cid = Cid.of(RAW, b"")
    one = {
        "wants": Message(wants=(Want(cid, True),) * MAX_ENTRIES),
        "cancels": Message(cancels=(cid,) * MAX_ENTRIES),
        "payload": Message(payload=(Payload(cid.prefix, b""),) * MAX_ENTRIES),
        "haves": Message(haves=(cid,) * MAX_ENTRIES),
        "dont_haves": Message(dont_haves=(cid,) * MAX_ENTRIES),
        "afar": Message(afar=((cid, 3),) * MAX_ENTRIES),
    }[kind]
    assert decode_message(encode_message(one)) == one
    with pytest.raises(RemoteError):
        decode_message(encode_message(one) * 2)


def test_the_data_of_a_block_is_named_by_its_hash() -> None:
    payload = Payload(Prefix(1, RAW, SHA2_256), b"data")
    assert payload.prefix.name(payload.data) == Cid.of(RAW, b"data")
