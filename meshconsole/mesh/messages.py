"""What two nodes say to each other inside a link: msgpack arrays, tagged, every field bounded. Pure.

Channel 0 (control) carries Hello, Ping, Pong, Bye and Lost; channel 1 (events) the messages of the sync
machine (`peer.py`); channel 3 (signals) the descriptions of data channels, gossip and receipts. Channel 2
carries bitswap messages, which are the content room's own.

Structs are arrays on the wire, and a reader ignores elements it does not know: fields are only ever
added at the end, with a default.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from meshconsole.core.errors import RemoteError
from meshconsole.core.text import safe

PROTOCOL_VERSION = 1

Word = Annotated[str, Meta(max_length=32)]
Address = Annotated[str, Meta(max_length=80)]
LinkId = Annotated[bytes, Meta(min_length=8, max_length=8)]
Seq = Annotated[int, Meta(ge=0, le=(1 << 62))]
Number = Annotated[int, Meta(ge=0, le=(1 << 62))]
Raw = Annotated[bytes, Meta(max_length=(1 << 20) + 4096)]


class Message(msgspec.Struct, frozen=True, array_like=True):
    pass


class Hello(Message, frozen=True, tag="hello"):
    """The first message of each side."""

    version: Number
    boot: LinkId
    """Random per process: tells a restarted peer from a stale link."""
    log_id: Annotated[str, Meta(max_length=128)]
    head: Seq
    """The newest seq of the sender's log."""
    capabilities: Annotated[tuple[Word, ...], Meta(max_length=16)] = ()
    listen: Annotated[tuple[Address, ...], Meta(max_length=16)] = ()
    dropped: Annotated[tuple[LinkId, ...], Meta(max_length=16)] = ()
    """Links to this very peer that the sender has closed or lost."""
    libp2p: Annotated[bytes, Meta(max_length=64)] = b""
    """The sender's libp2p peer id; empty if it has none."""


class Ping(Message, frozen=True, tag="ping"):
    number: Number
    heard: Number
    """The newest ping of the other side that the sender has heard."""
    head: Seq = 0
    """The newest seq of the sender's log, for the other's lag."""


class Pong(Message, frozen=True, tag="pong"):
    number: Number
    wall_ms: Number = 0
    """The sender's own clock, uncorrected, in milliseconds since the epoch; 0 if it does not say."""
    clock: Word = ""
    """What that clock is worth: a ClockQuality."""


class Bye(Message, frozen=True, tag="bye"):
    """The link ends; both sides log the reason."""

    reason: Annotated[str, Meta(max_length=200)]


class Lost(Message, frozen=True, tag="lost"):
    """Said on a link that lives: the sender has lost that other link to the same peer."""

    link: LinkId


Control = Hello | Ping | Pong | Bye | Lost


class Want(Message, frozen=True, tag="want"):
    """Stream your log to me from behind `after`, on the link that brings this. Ends earlier streams."""

    stream: Number
    log_id: Annotated[str, Meta(max_length=128)]
    after: Seq


OFFER = 36
"""Bytes of one offered event: its id, then its size as u32."""


class Batch(Message, frozen=True, tag="batch"):
    """Rows of the log up to `upto`: some in full, some offered by id."""

    stream: Number
    number: Number
    upto: Seq
    head: Seq
    pushed: Annotated[tuple[Raw, ...], Meta(max_length=4096)] = ()
    offered: Annotated[bytes, Meta(max_length=OFFER * 4096)] = b""
    behind: Number = 0
    """How many events that a comparison found are still to be offered."""


class Need(Message, frozen=True, tag="need"):
    """Send these offers of that batch in full; positions in ascending order."""

    stream: Number
    number: Number
    positions: Annotated[tuple[Annotated[int, Meta(ge=0, lt=4096)], ...], Meta(min_length=1, max_length=4096)]


class Fill(Message, frozen=True, tag="fill"):
    """What was needed. An event that the sender no longer has is b""."""

    stream: Number
    number: Number
    events: Annotated[tuple[tuple[Annotated[int, Meta(ge=0, lt=4096)], Raw], ...], Meta(max_length=4096)]


class Ack(Message, frozen=True, tag="ack"):
    """Everything up to batch `number` is stored durably, or was refused for good."""

    stream: Number
    number: Number


class Live(Message, frozen=True, tag="live"):
    """Events outside of the log's order: ephemeral ones, and fresh ones that overtake a backlog."""

    events: Annotated[tuple[Raw, ...], Meta(min_length=1, max_length=1024)]


class Compare(Message, frozen=True, tag="compare"):
    """A negentropy message of whoever serves the stream; b"" ends the comparison."""

    stream: Number
    number: Number
    """Counts comparisons."""
    sealed: bool
    """Of the kinds that a relay may have only, or of all that travel."""
    data: Annotated[bytes, Meta(max_length=64 * 1024)]


class Compared(Message, frozen=True, tag="compared"):
    """The answer; b"" if this side cannot compare."""

    stream: Number
    number: Number
    data: Annotated[bytes, Meta(max_length=64 * 1024)]


STOCK_IDS = 1024
"""Ids in one message, of 32 bytes each."""


class Stock(Message, frozen=True, tag="stock"):
    """A negentropy message about the blocks that each side has; or, without data, ids of blocks that the
    sender has and the other side lacks."""

    number: Number
    """Counts comparisons of blocks on this link."""
    data: Annotated[bytes, Meta(max_length=64 * 1024)]
    ids: Annotated[bytes, Meta(max_length=32 * STOCK_IDS)] = b""
    is_last: bool = False


class Stocked(Message, frozen=True, tag="stocked"):
    """The answer; b"" if this side cannot compare."""

    number: Number
    data: Annotated[bytes, Meta(max_length=64 * 1024)]


Sync = Want | Batch | Need | Fill | Ack | Live | Compare | Compared | Stock | Stocked


class Describe(Message, frozen=True, tag="describe"):
    """One half of the description exchange of a data channel."""

    attempt: LinkId
    kind: Annotated[str, Meta(max_length=8)]
    """"offer", "answer" or "refuse"."""
    text: Annotated[str, Meta(max_length=32 * 1024)]
    """SDP, or the reason of a refusal."""


MAX_TOLD = 64
MAX_TOLD_ADDRESSES = 4


class Told(Message, frozen=True, tag="told"):
    """Where other devices of the team answer, as far as the sender knows: key, then addresses."""

    peers: Annotated[
        tuple[
            tuple[
                Annotated[bytes, Meta(min_length=32, max_length=32)],
                Annotated[tuple[Address, ...], Meta(max_length=MAX_TOLD_ADDRESSES)],
            ],
            ...,
        ],
        Meta(max_length=MAX_TOLD),
    ]


class Receipt(Message, frozen=True, tag="receipt"):
    """`event` is the id of a note, `npub` the device that has it, or where somebody has read it."""

    event: Annotated[bytes, Meta(min_length=32, max_length=32)]
    npub: Annotated[bytes, Meta(min_length=32, max_length=32)]
    word: Literal["delivered", "read"]
    sig: Annotated[bytes, Meta(min_length=64, max_length=64)]


Signal = Describe | Told | Receipt

MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that msgspec raises for bytes that are not what they should be."""

encode = msgspec.msgpack.Encoder().encode
_control: msgspec.msgpack.Decoder[Control] = msgspec.msgpack.Decoder(Control)
_sync: msgspec.msgpack.Decoder[Sync] = msgspec.msgpack.Decoder(Sync)
_signal: msgspec.msgpack.Decoder[Signal] = msgspec.msgpack.Decoder(Signal)


def decode_control(payload: bytes) -> Control:
    """Raises RemoteError."""
    try:
        return _control.decode(payload)
    except MALFORMED as error:
        raise _malformed("control", error) from None


def decode_sync(payload: bytes) -> Sync:
    """Raises RemoteError."""
    try:
        return _sync.decode(payload)
    except MALFORMED as error:
        raise _malformed("events", error) from None


def decode_signal(payload: bytes) -> Signal:
    """Raises RemoteError."""
    try:
        return _signal.decode(payload)
    except MALFORMED as error:
        raise _malformed("signals", error) from None


def _malformed(channel: str, error: Exception) -> RemoteError:
    # The decoder quotes what it found, which the peer chose.
    found = safe(str(error), 120)
    return RemoteError("bad-message", f"The peer sent a malformed {channel} message: {found}")
