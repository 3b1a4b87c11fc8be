"""The JSON arrays that relay and client exchange (NIPs 1, 42, 45, 67, 77), built as bytes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.verdict import ACCEPTED

if TYPE_CHECKING:
    from meshconsole.core.verdict import Verdict

_encode = msgspec.json.Encoder().encode


def ok(event_id: str, verdict: Verdict) -> bytes:
    if verdict is ACCEPTED and event_id.isalnum():  # what nearly every event gets, at a third of the time
        return b'["OK","' + event_id.encode() + b'",true,""]'
    return _encode(("OK", event_id, verdict.accepted, verdict.message))


def event_prefix(subscription_id: str) -> bytes:
    """What comes before the event's own bytes and a closing bracket in an EVENT message."""
    return b'["EVENT",%b,' % _encode(subscription_id)


def eose(subscription_id: str, complete: bool | None) -> bytes:
    """NIP-67: whether everything stored was given, None if that is not known."""
    if complete is None:
        return _encode(("EOSE", subscription_id))
    return _encode(("EOSE", subscription_id, ("finish",) if complete else ("more",)))


def count(query_id: str, counted: int, *, approximate: bool, registers: bytes) -> bytes:
    """NIP-45. `registers` are its HyperLogLog, b"" for none."""
    answer: dict[str, object] = {"count": counted}
    if approximate:
        answer["approximate"] = True
    if registers:
        answer["hll"] = registers.hex()
    return _encode(("COUNT", query_id, answer))


def closed(subscription_id: str, message: str) -> bytes:
    """`message` is "code: sentence"."""
    return _encode(("CLOSED", subscription_id, message))


def neg_msg(negotiation_id: str, message: bytes) -> bytes:
    return _encode(("NEG-MSG", negotiation_id, message.hex()))


def neg_err(negotiation_id: str, message: str, *more: int) -> bytes:
    """`message` is "code: sentence"; `more` may be the most records that could be taken (NIP-77)."""
    return _encode(("NEG-ERR", negotiation_id, message, *more))


def notice(sentence: str) -> bytes:
    return _encode(("NOTICE", sentence))


def auth(challenge: str) -> bytes:
    return _encode(("AUTH", challenge))
