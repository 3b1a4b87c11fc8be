"""What clients may say, one module for each verb. Pure.

A verb takes the session, the message's parts (the verb among them) and monotonic seconds; it answers
through `session.send` and returns what the shell has to do. It never raises for what a client sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.verdict import refuse
from meshconsole.relay.session import max_message_bytes
from meshconsole.relay.verbs import auth, broken, count, event, neg, req

if TYPE_CHECKING:
    from meshconsole.relay.happening import Happening
    from meshconsole.relay.session import Session

Verb = Callable[["Session", "list[msgspec.Raw]", float], "list[Happening]"]

VERBS: dict[str, Verb] = {
    "EVENT": event.take,
    "REQ": req.open_,
    "CLOSE": req.close,
    "COUNT": count.take,
    "AUTH": auth.take,
    "NEG-OPEN": neg.open_,
    "NEG-MSG": neg.message,
    "NEG-CLOSE": neg.close,
}


def receive(session: Session, message: bytes, now: float) -> list[Happening]:
    """One text message. `now` is monotonic seconds. Never raises for what a client sends."""
    try:
        parts = _parts(message)
        verb = _verb(parts[0])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, IndexError):
        return broken.take(session, message, broken.NO_MESSAGE)
    if len(message) > max_message_bytes(session.config) and verb != "EVENT":
        return broken.take(session, message, broken.TOO_LONG)
    take = VERBS.get(verb)
    if take is None:
        shown = msgspec.json.encode(verb[:32]).decode()
        return broken.take(session, message, refuse("unsupported", f"this verb is not known here: {shown}"))
    return take(session, parts, now)


_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_verb = msgspec.json.Decoder(str).decode
