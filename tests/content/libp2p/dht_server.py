"""A DHT of one server, as far as the tests of its clients need one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meshconsole.content.formats.protobuf import bytes_field, fields
from meshconsole.content.libp2p.kademlia import ADD_PROVIDER, GET_PROVIDERS, LAN, Found, decode_answer
from tests.content.libp2p.peers import Party, party

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from meshconsole.content.libp2p.connection import Stream


def entry(found: Found) -> bytes:
    addresses = (bytes_field(2, address.encode()) for address in found.addresses)
    return bytes_field(1, found.peer.multihash) + b"".join(addresses)


@dataclass
class DhtServer:
    party: Party
    records: dict[bytes, dict[str, Found]] = field(default_factory=dict)
    asked: int = 0

    async def serve(self, stream: Stream) -> None:
        self.asked += 1
        said = await stream.read_message(1 << 16)
        values = {number: integer or bytes(value) for number, _, integer, value in fields(said)}
        kind, key = values[1], values[2]
        assert isinstance(key, bytes)
        kept = self.records.setdefault(key, {})
        if kind == ADD_PROVIDER:
            (told,) = decode_answer(said).providers
            # As Kubo does: a record of somebody else is not taken.
            if told.peer == stream.connection.peer:
                kept[str(told.peer)] = told
            return
        providers = kept.values() if kind == GET_PROVIDERS else ()
        await stream.write_message(b"".join(bytes_field(9, entry(found)) for found in providers))


@asynccontextmanager
async def dht_server() -> AsyncIterator[DhtServer]:
    async with party() as one:
        made = DhtServer(one)
        one.rules.team = {LAN: made.serve}
        yield made
