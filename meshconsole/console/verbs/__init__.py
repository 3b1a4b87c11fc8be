"""What each action of `actions.py` does, under its id. Every answer of the node is shown, above all a no."""

from meshconsole.console.desk import Acts
from meshconsole.console.verbs import console, files, guests, roll, team, urgent, view
from meshconsole.console.verbs.registry import VERBS

ACTS = Acts(VERBS, open_row=view.open_row, unlock=console.unlock)

__all__ = ["ACTS", "VERBS", "console", "files", "guests", "roll", "team", "urgent", "view"]
