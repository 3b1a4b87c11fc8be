"""What waits for a second admin: shown, agreed to, refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.cli.reading import node_status
from meshconsole.console.words import moment_in_words
from meshconsole.control.team import AgreeToProposal, ProposedData, RefuseProposal
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    import argparse

    from meshconsole.control.messages import Reply

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]

MIN_ID, MAX_ID = 4, 64


def configure(actions: Actions) -> tuple[argparse.ArgumentParser, ...]:
    """Adds the actions below `meshconsole team`; returns their parsers."""
    listing = actions.add_parser("proposals", help="what waits for a second admin")
    listing.set_defaults(run=proposals)

    agreeing = actions.add_parser("agree", help="agree to what another admin proposes: it is done then")
    agreeing.add_argument("proposal", help="its id, as 'team proposals' shows it")
    agreeing.set_defaults(run=agree)

    refusing = actions.add_parser("refuse", help="end a proposal for good, another admin's or one's own")
    refusing.add_argument("proposal", help="its id, as 'team proposals' shows it")
    refusing.set_defaults(run=refuse)
    return listing, agreeing, refusing


def outcome(reply: Reply, otherwise: str) -> str:
    """What has come of an act: done, or proposed only."""
    return reply.verdict.sentence if isinstance(reply.data, ProposedData) else otherwise


def proposals(parsed: argparse.Namespace) -> None:
    team = node_status(home_of(parsed.home)).team
    waiting = team.proposals if team else ()
    if parsed.json:
        print_json(waiting)
    elif not waiting:
        say("Nothing waits for a second admin.")
    else:
        rows = [(p.id[:8], p.author, moment_in_words(p.made), p.words) for p in waiting]
        print_table(("id", "proposed by", "at", "what"), rows)


def agree(parsed: argparse.Namespace) -> None:
    reply = ask(home_of(parsed.home), AgreeToProposal(_id(parsed.proposal)))
    say(f"Agreed and done. {reply.verdict.sentence}")


def refuse(parsed: argparse.Namespace) -> None:
    ask(home_of(parsed.home), RefuseProposal(_id(parsed.proposal)))
    say("The proposal is ended; nobody can carry it out any more.")


def _id(text: str) -> str:
    if not MIN_ID <= len(text) <= MAX_ID:
        raise Fatal(
            f"{text!r} is not the id of a proposal.", hint="See: meshconsole team proposals", exit_code=2
        )
    return text
