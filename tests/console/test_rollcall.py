"""Roll call at the desk: asked with a key, answered with a key, and a board with ages."""

from __future__ import annotations

import msgspec
import pytest

from meshconsole.control.notes import AnswerRoll, CallRoll
from meshconsole.core.status import RollCallStatus, RollStatus
from tests.console.field import NOW, npub_of
from tests.console.scripted import ScriptedNode
from tests.console.stage import sent, stage
from tests.console.test_goldens import SIZES, compare


def called(*, owed: bool, by: str = "falcon-1") -> ScriptedNode:
    node = ScriptedNode()
    board = (
        RollStatus(npub_of("falcon-2"), "falcon-2", "ok", NOW - 65),
        RollStatus(
            npub_of("falcon-3"), "falcon-3", "silent" if owed else "ok", None if owed else NOW, me=True
        ),
        RollStatus(npub_of("medic"), "m\x1b[2Jedic[@click=app.quit]", "help", NOW - 20),
        RollStatus(npub_of("truck-1"), "truck-1", "carried"),
        RollStatus(npub_of("base"), "base", "out", NOW - 4000),
    )
    call = RollCallStatus("aa" * 32, npub_of(by), by, "ROLL CALL after the storm", NOW - 90, owed, board)
    node.status_now = msgspec.structs.replace(node.status_now, roll_call=call)
    return node


async def test_a_roll_call_is_asked() -> None:
    async with stage() as play:
        await play.press("C")
        await play.until_shown("roll call of alpha")
        await play.type("all ok?")
        await play.press("enter")
        await play.until(lambda: sent(play, CallRoll))
        await play.press("C", "enter")
        await play.until(lambda: len(sent(play, CallRoll)) == 2)
        assert sent(play, CallRoll) == [CallRoll("all ok?"), CallRoll("")]
        await play.press("b")
        assert "Nobody has called" in play.notice


@pytest.mark.parametrize("size", SIZES)
async def test_whoever_owes_an_answer_is_told_at_every_size(size: tuple[int, int]) -> None:
    async with stage(*size, node=called(owed=True), glyphs="ascii") as play:
        await play.until_shown("ROLL CALL after the storm from falcon-1")
        assert "O ok, H need help, U out." in " ".join(play.picture.split())
        compare(f"rollcall-{size[0]}x{size[1]}", play.picture)


@pytest.mark.parametrize(("key", "word"), [("O", "ok"), ("H", "help"), ("U", "out")])
async def test_one_key_answers(key: str, word: str) -> None:
    async with stage(node=called(owed=True)) as play:
        await play.press(key)
        await play.until(lambda: sent(play, AnswerRoll))
        assert sent(play, AnswerRoll) == [AnswerRoll(word)]  # type: ignore[arg-type]


async def test_the_board_has_the_worst_first_and_goes_on() -> None:
    async with stage(node=called(owed=False), glyphs="ascii") as play:
        await play.until_shown("needs help. b shows all.")
        await play.press("b")
        await play.until_shown("1 NEEDS HELP, 1 out of action, 2 ok, 1 carried")
        assert "\x1b" not in play.picture
        compare("rollcall-board", play.picture)
        await play.press("escape")


async def test_nothing_is_owed_where_nobody_asks() -> None:
    async with stage() as play:
        assert "ROLL CALL" not in play.picture
        await play.press("O")
        assert "Nobody has called" in play.notice
