"""What clients may say, one module for each verb. Pure.

A verb takes the session, the message's parts (the verb among them) and monotonic seconds; it answers
through `session.send` and returns what the shell has to do. It never raises for what a client sends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from meshconsole.relay.verbs import auth, count, event, neg, req

if TYPE_CHECKING:
    import msgspec

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
