"""What is no message, or too long for one. Pure.

As far as can be read whom an answer belongs to it goes there: OK for an event with an id, CLOSED for a
question with one (NIP-01). The rest is told in a NOTICE.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.verdict import Verdict, refuse
from meshconsole.relay.event import claimed_id
from meshconsole.relay.happening import Happening, TurnedAway
from meshconsole.relay.verbs.asking import MAX_SUBSCRIPTION_ID

if TYPE_CHECKING:
    from meshconsole.relay.session import Session

NO_MESSAGE = refuse("invalid", "a message must be a JSON array that begins with a verb")
TOO_LONG = refuse("invalid", "this message is longer than the relay takes")


def take(session: Session, message: bytes, verdict: Verdict) -> list[Happening]:
    beginning = _BEGINS(message)
    verb, named = beginning.groups() if beginning is not None else (b"", None)
    if verb == b"EVENT" and (identifier := claimed_id(message)):
        session.say(identifier, verdict)
        return [TurnedAway(identifier, len(message), verdict)]
    known = verb.decode() if verb in _KNOWN else "message"
    subscription = _text(named)
    if verb in (b"REQ", b"COUNT") and 0 < len(subscription) <= MAX_SUBSCRIPTION_ID:
        session.refuse(known, subscription, Refused(verdict.code, verdict.sentence))
    else:
        session.complain(known, verdict)
    return []


_KNOWN = (b"EVENT", b"REQ", b"COUNT", b"CLOSE", b"AUTH")
_BEGINS = re.compile(rb'\s*\[\s*"([A-Z-]{0,16})"(?:\s*,\s*("(?:[^"\\]|\\.){0,400}"))?').match


def _text(quoted: bytes | None) -> str:
    try:
        return msgspec.json.decode(quoted or b'""', type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
