"""Everything a person can do at the desk, once: keys, palette, help and `:` are views of this. Pure.

What an action does is in `verbs/` under the same id.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal

PaneName = Literal["peers", "events", "storage", "limits", "files", "team", "audit", "notices", "map"]

PANES: tuple[PaneName, ...] = (
    "peers",
    "events",
    "storage",
    "limits",
    "files",
    "team",
    "audit",
    "notices",
    "map",
)
DASHBOARD: tuple[PaneName, ...] = ("peers", "events", "storage", "limits")


@dataclass(frozen=True, slots=True)
class Action:
    """`keys` are Textual's names. `command` is the word after `:`, `argument` what may follow it.

    `changes`: something on the node becomes different, so --read-only refuses it. `pane`: the keys
    work there alone.
    """

    id: str
    group: str
    title: str
    keys: tuple[str, ...] = ()
    command: str = ""
    argument: str = ""
    short: str = ""
    changes: bool = False
    pane: PaneName | None = None


ACTIONS: tuple[Action, ...] = (
    Action(
        "note.write", "Team", "Write a note to the team", ("n", "c"), "note", "TEXT", "Note", changes=True
    ),
    Action(
        "note.flash",
        "Team",
        "Write a flash note: it must be acknowledged",
        ("F",),
        "flash",
        "TEXT",
        changes=True,
    ),
    Action("note.immediate", "Team", "Write an immediate note", ("I",), "immediate", "TEXT", changes=True),
    Action("note.priority", "Team", "Write a priority note", (), "priority", "TEXT", changes=True),
    Action(
        "note.acknowledge",
        "Team",
        "Acknowledge a flash note, else the note here",
        ("exclamation_mark",),
        "ack",
        changes=True,
    ),
    Action("note.receipts", "Team", "Who has the notes sent from here", (), "receipts"),
    Action(
        "roll.call", "Team", "Call the roll: everybody is asked", ("C",), "rollcall", "TEXT", changes=True
    ),
    Action("roll.ok", "Team", "Answer the roll call: ok", ("O",), "ok", changes=True),
    Action("roll.help", "Team", "Answer the roll call: need help", ("H",), "needhelp", changes=True),
    Action("roll.out", "Team", "Answer the roll call: out of action", ("U",), "out", changes=True),
    Action("roll.board", "Team", "Who has answered the roll call", ("b",), "board"),
    Action("note.direct", "Team", "Write to one device of it", (), "to", "WHO TEXT", changes=True),
    Action(
        "note.plain",
        "Team",
        "To a plain Nostr key: not post-quantum",
        (),
        "plain",
        "NPUB TEXT",
        changes=True,
    ),
    Action("file.add", "Team", "Add a file for the team", ("a",), "add", "PATH", "Add", changes=True),
    Action(
        "team.invite",
        "Team",
        "Invite a device: text and QR code",
        ("i",),
        "invite",
        "",
        "Invite",
        changes=True,
    ),
    Action("team.join", "Team", "Join a team with an invite", (), "join", "INVITE", changes=True),
    Action("team.create", "Team", "Create a team", (), "create", "NAME", changes=True),
    Action("team.role", "Team", "Change the role of a device", ("r",), "role", "", "Role", True, "team"),
    Action(
        "team.remove",
        "Team",
        "Remove a device, and turn the key",
        ("X",),
        "remove",
        "",
        "Remove",
        True,
        "team",
    ),
    Action("team.rotate", "Team", "Turn the team's key", (), "rotate", changes=True),
    Action(
        "team.agree", "Team", "Agree to a proposal, or refuse it", ("A",), "agree", "", "Agree", changes=True
    ),
    Action(
        "guest.admit",
        "Team",
        "Let a guest's browser in, or send it away",
        (),
        "guest",
        "CODE",
        changes=True,
    ),
    Action("row.open", "List", "Open: an event in full, a peer, a file to fetch", ("enter", "l"), "open"),
    Action("file.get", "List", "Fetch a file", ("f",), "get", "PATH", "Fetch", True, "files"),
    Action("file.read", "List", "Read a text", ("v",), "read", "", "Read", False, "files"),
    Action("file.pause", "List", "Pause a fetch, or go on", ("w",), "wait", "", "Wait", True, "files"),
    Action(
        "file.export", "List", "Export a file, sealed, as CAR", ("x",), "car", "PATH", "Export", True, "files"
    ),
    Action("file.pin", "List", "Pin a file here, or let go of it", ("p",), "pin", "", "Pin", True, "files"),
    Action("file.drop", "List", "Remove a file from this node", ("D",), "drop", "", "Drop", True, "files"),
    Action(
        "list.filter", "List", "Filter this list; ! first inverts", ("slash",), "filter", "TEXT", "Filter"
    ),
    Action("list.pause", "List", "Pause and go on", ("space",), "pause", "", "Pause"),
    Action("list.copy", "List", "Copy the id of this row", ("y",), "copy"),
    Action("list.down", "List", "Down", ("j", "down")),
    Action("list.up", "List", "Up", ("k", "up")),
    Action("list.half_down", "List", "Half a page down", ("ctrl+d",)),
    Action("list.half_up", "List", "Half a page up", ("ctrl+u",)),
    Action("list.page_down", "List", "A page down", ("pagedown", "ctrl+f")),
    Action("list.page_up", "List", "A page up", ("pageup", "ctrl+b")),
    Action("list.start", "List", "To the start", ("g", "home")),
    Action("list.end", "List", "To the end, and follow", ("G", "end"), "follow"),
    Action("view.peers", "View", "Peers", ("1",), "peers"),
    Action("view.events", "View", "Events", ("2",), "events"),
    Action("view.storage", "View", "Storage", ("3",), "storage"),
    Action("view.limits", "View", "Limits", ("4",), "limits"),
    Action("view.files", "View", "Files", ("5",), "files", "", "Files"),
    Action("view.team", "View", "Team", ("6",), "team"),
    Action("view.audit", "View", "Audit log", ("7",), "audit"),
    Action("view.notices", "View", "Notices", ("8",), "notices"),
    Action("view.map", "View", "Map of who hears whom", ("9",), "map"),
    Action("view.next", "View", "Next pane", ("tab",)),
    Action("view.previous", "View", "Previous pane", ("shift+tab",)),
    Action("view.zoom", "View", "Zoom this pane, and back", ("z",), "zoom", "", "Zoom"),
    Action("view.back", "View", "Back: leave filter, zoom, pane", ("escape", "h"), "back", "", "Back"),
    Action("app.settings", "Console", "Settings", ("s",), "settings", "", "Settings"),
    Action("app.theme", "Console", "Pick a theme, shown as you move", ("t",), "theme", "NAME"),
    Action("app.privacy", "Console", "Hide texts, names and addresses, and back", ("P",), "privacy"),
    Action("list.show", "List", "Show what y copies, to select it by hand", ("Y",), "show"),
    Action("app.palette", "Console", "All actions, to search in", ("ctrl+p",), "palette"),
    Action("app.command", "Console", "Command line", ("colon",)),
    Action("app.help", "Console", "Help", ("question_mark",), "help", "", "Help"),
    Action("app.lock", "Console", "Lock this console until the passphrase is given", (), "lock"),
    Action(
        "node.emcon",
        "Console",
        "Emission control: open, quiet, receive-only, dark",
        ("e",),
        "emcon",
        "LEVEL",
        changes=True,
    ),
    Action("node.panic", "Console", "Destroy this home: keys, then files", (), "panic", changes=True),
    Action("app.reconnect", "Console", "Look for the node again", ("R",), "reconnect"),
    Action("app.quit", "Console", "Quit", ("q", "ctrl+q"), "quit", "", "Quit"),
)

BY_ID = {action.id: action for action in ACTIONS}
BY_COMMAND = {action.command: action for action in ACTIONS if action.command}

FOOTER: tuple[str, ...] = (
    "note.write",
    "list.filter",
    "file.add",
    "view.files",
    "team.invite",
    "view.zoom",
    "app.settings",
    "app.help",
    "app.quit",
)
"""What the footer names, the first ones first where there is little room."""

PANE_FOOTER: dict[PaneName, tuple[str, ...]] = {
    "files": (
        "file.get",
        "file.pin",
        "file.add",
        "file.drop",
        "list.filter",
        "view.back",
        "app.help",
        "app.quit",
    ),
    "team": ("team.invite", "team.role", "team.remove", "team.agree", "list.filter", "app.help", "app.quit"),
}

_KEY_WORDS = {
    "slash": "/",
    "colon": ":",
    "question_mark": "?",
    "exclamation_mark": "!",
    "escape": "Esc",
    "enter": "Enter",
    "space": "Space",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
    "down": "Down",
    "up": "Up",
    "home": "Home",
    "end": "End",
    "pagedown": "PgDn",
    "pageup": "PgUp",
}


def key_in_words(key: str) -> str:
    if key in _KEY_WORDS:
        return _KEY_WORDS[key]
    before, plus, last = key.rpartition("+")
    if plus:
        return f"{before.title()}+{key_in_words(last) if len(last) > 1 else last.upper()}"
    if len(key) == 1:
        return key
    try:
        sign = unicodedata.lookup(key.replace("_", " "))  # as Textual names other characters
    except KeyError:
        return key.title()
    return sign if sign.isprintable() else key.title()


def parse_command(text: str) -> tuple[Action, str] | str:
    """`note Hello` as its action and argument, or the sentence that says why not."""
    word, _, argument = text.strip().partition(" ")
    if action := BY_COMMAND.get(word):
        return action, argument.strip()
    near = [name for name in BY_COMMAND if word and name.startswith(word)]
    if len(near) == 1:
        return BY_COMMAND[near[0]], argument.strip()
    if near:
        return f"{word}: which of {', '.join(near)}?"
    return f"There is no command {word}. The commands: {', '.join(BY_COMMAND)}."
