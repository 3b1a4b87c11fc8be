"""Messages that a client may send, lawful ones and nearly so, for fuzzers to start from."""

from __future__ import annotations

from tests.relay.making import event_message, signed, unsigned
from tests.relay.session_bench import HEX

LOGIN = signed(kind=22242, tags=(("relay", "ws://x"), ("challenge", "challenge")))
SEEDS = [
    b'["REQ","s",{}]\n["CLOSE","s"]',
    b'["REQ","s",{"ids":["%b"],"authors":["%b"],"kinds":[1,7],"#e":["%b"],"#t":["x",""],"since":1,"until":2,'
    b'"limit":5,"search":"red language:en"}]' % ((HEX.encode(),) * 3),
    b'["REQ","\\u00e9\\n",{"kinds":[1059]},{"#p":["%b"]}]' % HEX.encode(),
    b'["COUNT","c",{"kinds":[3],"#p":["%b"]},{"limit":0}]' % HEX.encode(),
    b'["NEG-OPEN","n",{"kinds":[1]},"6100000200"]\n["NEG-MSG","n","61000000"]\n["NEG-CLOSE","n"]',
    b'["REQ","live",{"limit":0}]\n'
    + event_message(signed(content="\x01\x7f\u2028", tags=(("t", "x", "y"), ("d",)))),
    event_message(signed(kind=5, tags=(("e", HEX), ("a", f"30023:{HEX}:a:b"), ("k", "1")))),
    event_message(signed(kind=62, tags=(("relay", "ALL_RELAYS"),))),
    event_message(signed(kind=1, tags=(("-",), ("expiration", "1"), ("nonce", "1", "20")))),
    event_message(signed(kind=6, content='{"tags":[["-"]]}')),
    event_message(unsigned(kind=21059, tags=(("p", HEX),))),
    b'["AUTH",' + event_message(LOGIN)[9:],
    b'["EVENT",{"id":"%b","kind":1e0}]\n[]\n{}\n"REQ"\n["REQ"' % HEX.encode(),
]

WORDS = (
    *("EVENT", "REQ", "CLOSE", "COUNT", "AUTH", "NEG-OPEN", "NEG-MSG", "NEG-CLOSE"),
    *("ids", "authors", "kinds", "since", "until", "limit", "search", "#e", "#p", "#t", "#a"),
    *("id", "pubkey", "created_at", "kind", "tags", "content", "sig"),
    *("relay", "ALL_RELAYS", "challenge", "expiration", "nonce", HEX),
)
"""What a fuzzer would take long to come upon."""
