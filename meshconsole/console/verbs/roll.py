"""Roll call: ask, answer with one key, and the board of who has answered."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, get_args

from meshconsole.console.screens.board import RollBoard
from meshconsole.console.verbs.registry import attempt, verb
from meshconsole.console.widgets.entryline import Question
from meshconsole.console.work import start
from meshconsole.control.notes import AnswerRoll, CallRoll
from meshconsole.core.status import RollAnswer

if TYPE_CHECKING:
    from meshconsole.console.desk import Desk


@verb("roll.call")
def call_roll(desk: Desk, text: str) -> None:
    async def send(text: str) -> bool:
        return await attempt(desk, CallRoll(text.strip()), "The roll is called.") is not None

    if text:
        start(desk, partial(send, text), "roll")
    elif desk.model.status is None or desk.model.status.team is None:
        desk.say("There is no team to call yet. :create NAME, or :join INVITE.", "warn")
    else:
        team = desk.shown(desk.model.status.team.name)
        desk.ask(Question(f"roll call of {team}", send, placeholder="a few words, or none", enter="asks"))


def _answers(word: RollAnswer) -> None:
    @verb(f"roll.{word}")
    async def answer(desk: Desk, _: str) -> None:
        call = desk.model.status.roll_call if desk.model.status else None
        if call is None:
            desk.say("Nobody has called the roll.", "dim")
        else:
            await attempt(desk, AnswerRoll(word), f"Answered: {word}.")


for _word in get_args(RollAnswer):
    _answers(_word)


@verb("roll.board")
def board(desk: Desk, _: str) -> None:
    if desk.model.status is None or desk.model.status.roll_call is None:
        desk.say(f"Nobody has called the roll. {desk.keymap.key('roll.call')} calls it.", "dim")
    else:
        desk.app.push_screen(RollBoard(desk))
