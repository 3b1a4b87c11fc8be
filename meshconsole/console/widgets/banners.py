"""What the desk says above everything: emission control, flash notes, the roll call, the link to the node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.urgent import emcon_banner, flash_banner, roll_banner
from meshconsole.console.widgets.banner import Banner
from meshconsole.console.words import clock_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from meshconsole.console.keymap import Keymap
    from meshconsole.console.model import Model
    from meshconsole.core.status import NodeStatus


class Banners:
    def __init__(self) -> None:
        self.emcon = Banner(id="emcon", most=2)
        self.flash = Banner(id="flash")
        self.roll = Banner(id="roll", most=2)
        self.link = Banner(id="banner")
        self.alarm = ""
        """What waits here, for who looks at a dialog; "" if nothing does."""
        self._rung: frozenset[str] = frozenset()
        """The flash notes and the roll call that the bell was rung for."""

    def __iter__(self) -> Iterator[Banner]:
        """From the top."""
        return iter((self.emcon, self.flash, self.roll, self.link))

    def show_urgent(self, status: NodeStatus, keymap: Keymap, *, may_act: bool) -> bool:
        """Whether something has come that the bell is to be rung for."""
        key = keymap.key
        self.emcon.say(emcon_banner(status), f"{key('node.emcon')} changes it." if may_act else "")
        self.flash.say(
            flash_banner(status),
            f"{key('note.acknowledge')} acknowledges it." if may_act else "",
            private="A FLASH note has come.",
        )
        call = status.roll_call
        owed = call is not None and call.owed
        answers = f"{key('roll.ok')} ok, {key('roll.help')} need help, {key('roll.out')} out."
        self.roll.say(
            roll_banner(status),
            answers if owed and may_act else f"{key('roll.board')} shows all.",
            private="A ROLL CALL waits." if owed else "ROLL CALL: somebody needs help.",
        )
        self.alarm = "FLASH note: Esc, then read" if status.unread else "Roll call: Esc" if owed else ""
        ringing = frozenset(note.id for note in status.unread)
        if call is not None and self.roll.words:
            ringing |= {call.id}
        is_new = bool(ringing - self._rung)
        self._rung = ringing
        return is_new

    def show_link(self, model: Model, keymap: Keymap) -> None:
        """Whether what is shown is now or was then. Never one for the other."""
        since = "" if model.status is None else f" What you see is from {clock_in_words(model.heard)}."
        again = keymap.key("app.reconnect")
        words = {
            "connecting": "Looking for the node.",
            "locked": f"{model.reason}",
            "silent": f"{model.reason}{since}",
            "lost": f"{model.reason.rstrip('.')}.{since} Trying again; {again} tries now.",
            "attached": "",
        }[model.link]
        self.link.say("" if not model.stale else words)
