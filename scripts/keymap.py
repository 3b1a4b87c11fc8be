"""docs/keymap.md: every action of the console with its keys and its command, from the one registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.actions import ACTIONS, key_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = """\
# Keys

Written from the code by `make reference`; edit the code, not this file.

`?` in the console shows the same list, `Ctrl+P` searches in it, `:` takes the commands; a beginning of a
command that is unmistakable will do. Lists also take the arrow keys. The mouse is used on local terminals
only; `--no-mouse` leaves it to the terminal there too.

Other keys: a file `keys.toml` in the home, read when a console starts, and good for dialogs too. What it
gives an action replaces the action's own keys; `[]` takes them away, the command stays. A key that two
actions want is named when the console starts, and the one that the file gave it to has it.

    [keys]
    "note.flash" = ["ctrl+f", "!"]
    "note.acknowledge" = ["f2"]
"""


def keymap() -> str:
    return "\n".join([HEAD, *_tables()]).rstrip() + "\n"


def _tables() -> Iterator[str]:
    for group in dict.fromkeys(action.group for action in ACTIONS):
        yield f"## {group}\n"
        yield "| keys | what it does | command | action |"
        yield "|---|---|---|---|"
        for action in ACTIONS:
            if action.group != group:
                continue
            keys = ", ".join(f"`{key_in_words(key)}`" for key in action.keys)
            where = f" (in the {action.pane} pane)" if action.pane else ""
            command = f"`:{action.command}{' ' + action.argument if action.argument else ''}`"
            yield f"| {keys}{where} | {action.title} | {command if action.command else ''} | `{action.id}` |"
        yield ""
