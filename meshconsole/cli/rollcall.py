"""Roll call: ask the team how everybody is, answer, and see who has answered."""

from __future__ import annotations

from argparse import SUPPRESS
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask
from meshconsole.cli.following import Row, add_follow, follow_status
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.cli.reading import node_status
from meshconsole.console.urgent import ROLL_WORDS, roll_rows, roll_summary
from meshconsole.console.words import ago_in_words
from meshconsole.control.notes import AnswerRoll, CallRoll

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meshconsole.core.status import NodeStatus


def configure(_command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    add_follow(parser)
    parser.set_defaults(run=show)
    actions = parser.add_subparsers(title="actions (default: show)", metavar="ACTION")
    showing = actions.add_parser("show", help="the newest roll call, and who has answered it")
    showing.add_argument("--json", action="store_true", default=SUPPRESS, help=SUPPRESS)
    add_follow(showing, below=True)
    showing.set_defaults(run=show)
    asking = actions.add_parser("ask", help="ask every device of the team that writes")
    asking.add_argument("text", nargs="*", help="a few words to it")
    asking.set_defaults(run=call)
    answering = actions.add_parser("answer", help="answer the newest; a later answer replaces an earlier one")
    answering.add_argument("word", choices=("ok", "help", "out"), help="ok, help (needed) or out (of action)")
    answering.set_defaults(run=answer)
    for action in (showing, asking, answering):
        action.add_argument("--home", default=SUPPRESS, help=SUPPRESS)


def show(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.follow:
        follow_status(home, as_json=parsed.json, rows=_rows, value=lambda now: now.roll_call)
        return
    now = node_status(home)
    roll = now.roll_call
    if parsed.json:
        print_json(roll)
    elif roll is None:
        say("Nobody has called the roll. Call it: meshconsole rollcall ask")
    else:
        say(f"{roll.words} from {roll.author}, {ago_in_words(roll.at, now.now)}: {roll_summary(roll)}")
        rows = [(ROLL_WORDS[state], name, age or "-") for name, state, age in roll_rows(roll, now.now)]
        if rows:
            print_table(("state", "name", "answered"), rows)
        if roll.owed:
            say("This device has not answered: meshconsole rollcall answer ok|help|out")


def _rows(now: NodeStatus) -> Iterator[Row]:
    roll = now.roll_call
    if roll is None:
        return
    yield Row(
        "call", (f"{roll.words} from {roll.author}: {roll_summary(roll)}",), (roll.id, roll_summary(roll))
    )
    for name, state, age in roll_rows(roll, now.now):
        yield Row(name, (ROLL_WORDS[state], name, age), (roll.id, state))


def call(parsed: argparse.Namespace) -> None:
    reply = ask(home_of(parsed.home), CallRoll(" ".join(parsed.text)))
    say(reply.verdict.sentence or "The roll is called.")


def answer(parsed: argparse.Namespace) -> None:
    say(ask(home_of(parsed.home), AnswerRoll(parsed.word)).verdict.sentence or "Answered.")
