"""What each action of `actions.py` does, under its id. Every answer of the node is shown, above all a no."""

from meshconsole.console.verbs import console, files, guests, roll, team, urgent, view
from meshconsole.console.verbs.console import unlock
from meshconsole.console.verbs.registry import VERBS
from meshconsole.console.verbs.view import open_row

__all__ = ["VERBS", "console", "files", "guests", "open_row", "roll", "team", "unlock", "urgent", "view"]
