"""Where the verbs are kept, and how they ask the node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.console.desk import Desk
    from meshconsole.control.messages import Command, Reply

Verb = Callable[["Desk", str], Awaitable[None] | None]

VERBS: dict[str, Verb] = {}

_Verb = TypeVar("_Verb", bound=Verb)


def verb(action_id: str) -> Callable[[_Verb], _Verb]:
    """Registers what an action does. Its argument is what followed the command, "" for a key."""

    def register(function: _Verb) -> _Verb:
        VERBS[action_id] = function
        return function

    return register


async def attempt(desk: Desk, command: Command, done: str = "") -> Reply | None:
    """The node's reply, or None after its reason was shown. `done` is said if the node says nothing."""
    try:
        reply = await desk.session.call(command)
    except MeshconsoleError as error:
        desk.say(safe(str(error)), "bad")
        return None
    sentence = reply.verdict.sentence or done
    if sentence:
        desk.say(safe(sentence), "good")
    return reply
