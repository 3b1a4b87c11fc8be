"""The first run: every page, its refusals, and what comes out of it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from meshconsole.console.firstrun import Answers, FirstRunApp
from meshconsole.console.profile import Profile
from meshconsole.core.config import Config
from meshconsole.core.setup import OPT_INS
from tests.console.stage import Play

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PASSPHRASE = "four or five random words"


def check_invite(text: str) -> str:
    return "" if text.startswith("MC1") else "That is not an invite."


@asynccontextmanager
async def first_run(width: int = 80, height: int = 24) -> AsyncIterator[Play[FirstRunApp]]:
    answers = Answers(Config())
    app = FirstRunApp(Profile("true", "unicode", False, 4.0), answers, check_invite, theme="field-dark")
    async with app.run_test(size=(width, height)) as pilot:
        play = Play(app, pilot)
        await play.until_shown("Your name")
        yield play


async def name_and_later(play: Play[FirstRunApp]) -> None:
    await play.type("falcon-3")
    await play.press("enter")
    await play.until_shown("Your team")
    await play.press("G", "enter")
    await play.until_shown("Passphrase (")


async def test_founding_a_team() -> None:
    async with first_run() as play:
        await play.press("enter")
        await play.until_shown("A name is needed")
        await play.type("falcon-3")
        await play.press("enter")
        await play.until_shown("Your team (2 of 7)")
        await play.press("enter")
        await play.until_shown("Name of the team")
        await play.press("enter")
        await play.until_shown("The team needs a name.")
        await play.type("alpha")
        await play.press("enter")
        await play.until_shown("Passphrase (4 of 7)")
        await play.type("short")
        await play.press("enter")
        await play.type("other")
        await play.press("enter")
        await play.until_shown("not the same")
        assert "short" not in play.picture
        await play.press("escape")
        await play.until_shown("alpha")
        await play.press("enter")
        await play.until_shown("Passphrase (")
        for _ in range(2):
            await play.type("short")
            await play.press("enter")
        await play.until_shown("At least 8")
        await play.press("escape")
        await play.until_shown("alpha")
        await play.press("enter")
        await play.until_shown("Passphrase (")
        for _ in range(2):
            await play.type(PASSPHRASE)
            await play.press("enter")
        await play.until_shown("What you offer")
        assert "Nothing is offered before you agree" in play.picture
        assert play.picture.count("  on  ") == len(OPT_INS)
        for word in ("Shares:", "Costs:", "Gives:", "Needs:"):
            assert word in play.picture
        await play.press("j", "space", "enter")
        await play.until_shown("Limits and privacy")
        await play.press("space")
        await play.until_shown("most that events and files")
        await play.press("backspace", "backspace", "backspace")
        await play.type("none")
        await play.press("enter")
        await play.until_shown("does not fit")
        await play.press("space")
        await play.until(lambda: len(play.app.screen_stack) == 2)
        await play.press("backspace", "enter")
        await play.until_shown("51 MB")
        await play.press("enter")
        await play.until_shown("Is this right?")
        for words in (
            "falcon-3",
            "creates alpha",
            "Nostr relay, WebRTC hub",
            "storage 51 MB",
            "the team only",
        ):
            assert words in play.picture
        await play.press("enter")
        await play.until(lambda: play.app._exit)
        answers = play.app.first_screen.answers
        result = answers.result()
        assert play.app.first_screen.done
        assert (result.name, result.team, result.team_name) == ("falcon-3", "create", "alpha")
        assert result.config.node.name == "falcon-3"
        assert result.config.capabilities.nostr_relay
        assert not result.config.capabilities.ipfs_node
        assert result.config.limits.max_storage_mb == 51
        assert answers.passphrase == PASSPHRASE
        assert PASSPHRASE not in repr(answers)


async def test_joining_with_an_invite_that_is_checked() -> None:
    async with first_run(50, 16) as play:
        await play.type("medic")
        await play.press("enter")
        await play.until_shown("Your team")
        await play.press("j", "enter")
        await play.until_shown("The invite")
        await play.press("enter")
        await play.until_shown("Without an invite")
        await play.type("nonsense")
        await play.press("enter")
        await play.until_shown("That is not an invite.")
        for _ in "nonsense":
            await play.press("backspace")
        await play.type("mc1 ab cd")
        await play.press("enter")
        await play.until_shown("Passphrase (")
        assert play.app.first_screen.answers.result().invite == "MC1ABCD"


async def test_going_on_without_a_passphrase_is_asked_twice_and_everything_on_is_one_key() -> None:
    async with first_run() as play:
        await name_and_later(play)
        await play.press("enter", "enter")
        await play.until_shown("whoever has this device reads everything")
        await play.press("enter")
        await play.until_shown("What you offer")
        await play.press("n")
        assert play.picture.count("  off  ") == len(OPT_INS)
        await play.press("a")
        assert play.picture.count("  on  ") == len(OPT_INS)
        await play.press("enter", "enter")
        await play.until_shown("Passphrase: none")
        assert "none for now" in play.picture


async def test_leaving_at_the_first_page_keeps_nothing() -> None:
    async with first_run() as play:
        await play.press("escape")
        await play.until(lambda: play.app._exit)
        assert not play.app.first_screen.done


async def test_answers_that_come_in_a_bunch_go_into_their_fields() -> None:
    async with first_run() as play:
        await play.press(*"medic", "enter", "G", "enter")
        await play.until_shown("Passphrase (")
        await play.press(*"correcthorse", "enter", *"correcthorse", "enter")
        await play.until_shown("What you offer")
        assert play.app.first_screen.answers.passphrase == "correcthorse"
