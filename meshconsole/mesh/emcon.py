"""Emission control: what this node may send, in one place below every sender. Pure.

    open           everything
    quiet          links and answers, and what the owner sends; it does not show itself and dials nobody
    receive-only   nothing leaves; broadcasts and multicasts are still heard
    dark           nothing leaves and nothing is heard

The level may change at any time; whoever sends asks here before each datagram, dial or handshake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from meshconsole.core.sections import EmconLevel

SILENCE = "This node keeps radio silence."


class Emcon(msgspec.Struct):
    level: EmconLevel = "open"

    @property
    def may_announce(self) -> bool:
        """Show itself to whoever is near, unasked."""
        return self.level == "open"

    @property
    def may_dial(self) -> bool:
        return self.level == "open"

    @property
    def may_send(self) -> bool:
        """Anything at all."""
        return self.level in ("open", "quiet")

    @property
    def may_hear(self) -> bool:
        return self.level != "dark"

    @property
    def line(self) -> str:
        """For people; "" while everything is allowed."""
        return _LINES[self.level]


_LINES: dict[EmconLevel, str] = {
    "open": "",
    "quiet": "emcon: quiet: this node answers, it does not show itself and dials nobody",
    "receive-only": "emcon: receive-only: nothing leaves this node",
    "dark": "emcon: dark: nothing leaves this node and nothing is heard",
}
