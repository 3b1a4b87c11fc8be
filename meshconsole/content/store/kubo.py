"""Blocks in a Kubo node, by its RPC interface: a `BlockStore` for those who run one anyway.

How it keeps the laws of `blocks`:
1. Everything read is hashed here. A block that Kubo gives back altered is removed from it.
2. A block is put, then pinned directly and by name; the pin says whose it is and how large, so that what is
   ours can be told from what else Kubo holds, and its garbage collection leaves it alone. What a crash
   leaves between the two is unpinned, and Kubo's to collect.
3. Kubo keeps blocks by their multihash too. Pins name CIDs: all of ours are written as raw.

Kubo is never asked to look on the network: `offline` stands in every command that could.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshconsole.content.formats.block import MAX_BLOCK_BYTES
from meshconsole.content.formats.cid import DAG_CBOR, DAG_PB, RAW, SHA2_256, SHA2_512, Cid, multihash_matches
from meshconsole.content.store.blocks import BlocksState
from meshconsole.content.store.kubo_rpc import LISTING_TIMEOUT_S, CommandFailed
from meshconsole.core.errors import CorruptData, Fatal, RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeGuard

    from meshconsole.content.formats.block import Block
    from meshconsole.content.store.kubo_rpc import KuboRpc

LABEL = "meshconsole"
OLDEST = (0, 28)
"""The first version that gives pins names."""

LOCKS = 64
FULL_PERCENT = 95
"""Of Datastore.StorageMax, which Kubo itself goes beyond without a word."""

_HASH_NAMES = {SHA2_256: "sha2-256", SHA2_512: "sha2-512"}
_NOT_PINNED = ("not pinned",)
_NOT_THERE = ("not found", "could not find", "no such", "was not found locally")
_FULL = ("no space left", "disk quota exceeded", "storage limit")


@dataclass(frozen=True, slots=True)
class _Held:
    """A pin of a block, and who set it: empty for somebody who is not a meshconsole."""

    owner: str
    size: int


class KuboBlocks:
    """Any number of threads may call it at once. `owner` tells the nodes that ever used this Kubo apart."""

    def __init__(self, rpc: KuboRpc, owner: str) -> None:
        self._rpc = rpc
        self._owner = owner
        self._is_full = False
        self._locks = [threading.Lock() for _ in range(LOCKS)]

    def open(self) -> int:
        version = self._json("version").get("Version")
        if not isinstance(version, str):
            raise self._not_kubo("version")
        if _numbers(version) < OLDEST:
            raise Fatal(
                f"The Kubo node at {self._rpc.address} is version {version}, which gives pins no names.",
                hint="Install Kubo 0.40 or newer.",
            )
        return 0

    def put(self, block: Block) -> bool:
        cid, size = _raw(block.cid.multihash), len(block.data)
        with self._lock(cid):
            held = self._pin_of(cid)
            if held is not None and held.owner != self._owner:
                raise self._foreign(cid)
            if held is not None:
                found = self._get(cid)
                if found == block.data:
                    return False
                if found is not None:
                    self._delete(cid)  # Kubo may keep what it has instead of what it is given
            self._put(cid, block.data)
            self._pin(cid, f"{LABEL}:{self._owner}:{size}")
            self._is_full = False
        return held is None

    def sync(self) -> None:
        """Kubo answers after it has written; see `look` for whether it syncs."""

    def get(self, multihash: bytes) -> bytes | None:
        cid = _raw(multihash)
        data = self._get(cid)
        if data is None:
            return None
        if len(data) <= MAX_BLOCK_BYTES and multihash_matches(multihash, data):
            return data
        with self._lock(cid):
            self._delete(cid)
        raise CorruptData(
            f"Kubo holds altered bytes for the block {cid}; they were removed from it.",
            hint="It is fetched again from teammates who hold it. If this repeats, check Kubo's disk.",
        )

    def size(self, multihash: bytes) -> int | None:
        held = self._pin_of(_raw(multihash))
        return held.size if held is not None and held.owner == self._owner else None

    def first_byte(self, multihash: bytes) -> bytes:
        return (self._get(_raw(multihash)) or b"")[:1]

    def remove(self, multihash: bytes) -> bool:
        cid = _raw(multihash)
        with self._lock(cid):
            held = self._pin_of(cid)
            if held is None or held.owner != self._owner:
                return False
            self._delete(cid)
        return True

    def listing(self) -> Iterator[tuple[bytes, int]]:
        try:
            with self._rpc.pieces(
                "pin/ls", timeout_s=LISTING_TIMEOUT_S, type="direct", names="true", offline="true"
            ) as pieces:
                for text, held in _pins(pieces):
                    if held.owner not in ("", self._owner):
                        raise Fatal(
                            f"The Kubo node at {self._rpc.address} keeps the blocks of another meshconsole.",
                            hint="Give each node a Kubo of its own. If that node is gone: unpin what "
                            f"`ipfs pin ls --names --type=direct` shows as {LABEL}:{held.owner}.",
                        )
                    if held.owner:
                        yield Cid.parse(text).multihash, held.size
        except CommandFailed as failure:
            raise self._translated("pin/ls", failure) from None
        except RemoteError:
            raise self._not_kubo("pin/ls") from None

    def quarantined_bytes(self) -> int:
        return 0

    def look(self) -> BlocksState:
        place = f"Kubo at {self._rpc.address}"
        try:
            stat = self._json("repo/stat", **{"size-only": "true"})
            used, most = stat.get("RepoSize", 0), stat.get("StorageMax", 0)
            if not (_is_size(used) and _is_size(most)):
                raise self._not_kubo("repo/stat")
            warnings = tuple(self._warnings(used, most))
        except Unavailable as error:
            return BlocksState(place, error.sentence, error.hint)
        return BlocksState(place, warnings=warnings)

    def close(self) -> None:
        self._rpc.close()

    def _warnings(self, used: int, most: int) -> Iterator[str]:
        if self._is_full:
            yield "The disk of the Kubo node is full: it takes no new blocks"
        if most and used * 100 > most * FULL_PERCENT:
            yield (
                f"Kubo's repository has {used / 1e6:.0f} MB of the {most / 1e6:.0f} MB that its "
                "Datastore.StorageMax allows"
            )
        spec = self._setting("Datastore.Spec")
        if '"sync":false' in spec.replace(" ", ""):
            yield "Kubo does not sync what it writes (Datastore.Spec, sync): a power cut may cost blocks"

    def _setting(self, name: str) -> str:
        """Empty where it is not set, or not for us to see."""
        try:
            return json.dumps(self._json("config", arg=name).get("Value"))
        except Unavailable:
            return ""

    def _put(self, cid: Cid, data: bytes) -> None:
        answer = self._json(
            "block/put",
            data,
            **{
                "cid-codec": "raw",
                "mhtype": _HASH_NAMES[cid.hash_code],
                "pin": "false",
                "allow-big-block": "true",
            },
        )
        stored = answer.get("Key")
        if stored != str(cid):
            raise Unavailable(f"Kubo stored the block {cid} as {stored}.", hint="Is it really Kubo?")

    def _pin(self, cid: Cid, name: str) -> None:
        options = {"arg": str(cid), "recursive": "false", "name": name, "offline": "true"}
        try:
            self._rpc.call("pin/add", **options, **_NOT_TOLD)
        except CommandFailed as failure:
            if "already pinned" in str(failure):
                raise self._foreign(cid) from None
            raise self._translated("pin/add", failure) from None

    def _get(self, cid: Cid) -> bytes | None:
        """As Kubo has it, unchecked; empty where it says itself that it is damaged."""
        try:
            return self._rpc.call("block/get", arg=str(cid), offline="true")
        except CommandFailed as failure:
            message = str(failure).lower()
            if "hash" in message and "different" in message:  # its Datastore.HashOnRead
                return b""
            if any(words in message for words in _NOT_THERE):
                return None
            raise self._translated("block/get", failure) from None

    def _delete(self, cid: Cid) -> None:
        """The pin, then the block, unless somebody else's pin keeps it under any name that it has."""
        try:
            self._rpc.call("pin/rm", arg=str(cid), recursive="false", offline="true")
        except CommandFailed as failure:
            if not any(words in str(failure) for words in _NOT_PINNED):
                raise self._translated("pin/rm", failure) from None
        if any(self._is_pinned(other) for other in _nodes(cid)):
            return
        self._call("block/rm", arg=str(cid), force="true", quiet="true", offline="true")

    def _is_pinned(self, cid: Cid) -> bool:
        try:
            self._rpc.call("pin/ls", arg=str(cid), offline="true")
        except CommandFailed as failure:
            if any(words in str(failure) for words in _NOT_PINNED):
                return False
            raise self._translated("pin/ls", failure) from None
        return True

    def _pin_of(self, cid: Cid) -> _Held | None:
        try:
            answer = self._rpc.call("pin/ls", arg=str(cid), type="direct", names="true", offline="true")
        except CommandFailed as failure:
            if any(words in str(failure) for words in _NOT_PINNED):
                return None
            raise self._translated("pin/ls", failure) from None
        return next((held for _, held in _pins([answer])), None)

    def _call(self, command: str, body: bytes | None = None, /, **options: str) -> bytes:
        try:
            return self._rpc.call(command, body, **options)
        except CommandFailed as failure:
            raise self._translated(command, failure) from None

    def _json(self, command: str, body: bytes | None = None, /, **options: str) -> dict[str, object]:
        """Raises Unavailable where the answer is no object: a web page, say, of another program."""
        try:
            answer = json.loads(self._call(command, body, **options))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._not_kubo(command)
        return answer

    def _not_kubo(self, command: str) -> Unavailable:
        return Unavailable(
            f"What answers at {self._rpc.address} is no Kubo node: it does not know {command}.",
            hint="Set content.kubo_api to the RPC API of one, by default /ip4/127.0.0.1/tcp/5001.",
        )

    def _translated(self, command: str, failure: CommandFailed) -> Unavailable:
        if any(words in str(failure).lower() for words in _FULL):
            self._is_full = True
            return Unavailable("The disk of the Kubo node is full.", hint="Make room there, then try again.")
        return Unavailable(
            f"Kubo could not do {command}: {failure}.", hint="See its log; it is tried again by itself."
        )

    def _foreign(self, cid: Cid) -> Unavailable:
        return Unavailable(
            f"Kubo pins the block {cid} for somebody else.",
            hint="Give meshconsole a Kubo of its own, or unpin that block there.",
        )

    def _lock(self, cid: Cid) -> threading.Lock:
        return self._locks[cid.digest[-1] % LOCKS]


_NOT_TOLD = {"fast-provide-root": "false", "fast-provide-dag": "false"}
"""Nobody is told of a block: who may have it is decided here."""


def _raw(multihash: bytes) -> Cid:
    return Cid.decode(bytes((1, RAW)) + multihash)


def _nodes(cid: Cid) -> Iterator[Cid]:
    """The same bytes as a node of a tree: Kubo keeps them once, and looks for pins of the CID it is given."""
    for codec in (DAG_PB, DAG_CBOR):
        yield Cid(1, codec, cid.hash_code, cid.digest)
    if cid.hash_code == SHA2_256:
        yield Cid(0, DAG_PB, cid.hash_code, cid.digest)


def _numbers(version: str) -> tuple[int, ...]:
    head = version.split("-")[0].split(".")
    return tuple(int(part) for part in head if part.isascii() and part.isdigit() and len(part) < 10)


def _is_size(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 63


def _pins(pieces: Iterable[bytes]) -> Iterator[tuple[str, _Held]]:
    """Of `{"Keys":{CID:{"Type":...,"Name":...},...}}`, one after the other: there may be very many.

    Raises Unavailable for anything else: a list that broke off would cost blocks.
    """
    reader = _JsonReader(iter(pieces))
    reader.expect("{")
    if reader.expect("}", '"Keys"') == "}":  # there are none
        return
    reader.expect(":")
    reader.expect("{")
    while reader.peek() != "}":
        cid = reader.value()
        reader.expect(":")
        yield str(cid), _held(reader.value())
        if reader.peek() == ",":
            reader.expect(",")
    reader.expect("}")
    reader.expect("}")


class _JsonReader:
    """A JSON text that comes in pieces, value by value."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is no space."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace():
                    return self._text[self._at]
                self._at += 1
            self._more()

    def expect(self, *choices: str) -> str:
        self.peek()
        while True:
            for choice in choices:
                if self._text.startswith(choice, self._at):
                    self._at += len(choice)
                    return choice
            if len(self._text) - self._at >= max(map(len, choices)):
                raise _broken()
            self._more()

    def value(self) -> object:
        """A string, array or object; of a number, the end could not be seen."""
        self.peek()
        while True:
            try:
                found, self._at = self._decoder.raw_decode(self._text, self._at)
            except RecursionError:
                raise _broken() from None
            except ValueError:
                self._more()
            else:
                return found

    def _more(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise _broken()
        self._text, self._at = self._text[self._at :] + piece.decode("ascii", "replace"), 0


def _held(pin: object) -> _Held:
    name = str(pin.get("Name", "")) if isinstance(pin, dict) else ""
    match name.split(":"):
        case [label, owner, size] if label == LABEL and owner and size.isdecimal() and len(size) < 10:
            return _Held(owner, int(size))
        case _:
            return _Held("", 0)


def _broken() -> Unavailable:
    return Unavailable("Kubo's list of pins broke off.", hint="It is asked again by itself.")
