"""Right messages for each target of `fuzzing.py`, by its number, from which fuzzers set out."""

from __future__ import annotations

import struct

from meshconsole.content.exchange.bitswap import Message, Payload, Want, encode_message
from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.content.libp2p.identify import encode_identify
from meshconsole.content.libp2p.kademlia import FIND_NODE, Found, encode_query
from meshconsole.content.libp2p.mdns import make_text
from meshconsole.content.libp2p.multiaddr import tcp_address
from meshconsole.content.libp2p.multistream import HEADER, encode_lines
from tests.content.libp2p.peers import key, shake

_OWN = key("fuzz")
_HERE = tcp_address("192.0.2.1", 4001).with_peer(_OWN.peer)
_CID = Cid.of(RAW, b"block")
_DIALLED = shake(key("other"), _OWN)[2]
_MESSAGE = Message((Want(_CID, block=True),), (_CID,), (Payload(_CID.prefix, b"block"),), (_CID,), (_CID,))

SEEDS = tuple(
    bytes((number,)) + said
    for number, said in enumerate(
        (
            struct.pack(">BBHII", 0, 1, 1, 1, 0) + struct.pack(">BBHII", 0, 0, 4, 1, 5) + b"hello",
            encode_lines(HEADER, "/c", "/a"),
            encode_lines(HEADER, "na", "/b"),
            encode_identify(_OWN.encoded, "agent", ("/a",), (_HERE,), _HERE),
            encode_query(FIND_NODE, _CID.multihash, Found(_OWN.peer, (_HERE,))),
            _HERE.encode(),
            _DIALLED[0],
            _DIALLED[1],
            make_text([_HERE]),
            _OWN.encoded,
            _OWN.peer.multihash,
            encode_message(_MESSAGE),
        )
    )
)
