"""A console that nobody touches shows nothing more, and destroying a home takes a typed word."""

from __future__ import annotations

import msgspec
import pytest

from meshconsole.console.screens.locked import Locked
from meshconsole.control.keys import Panic, Unlock
from meshconsole.core.config import with_values
from tests.console.scripted import ScriptedNode
from tests.console.stage import Stage, stage

RIGHT = "correct horse"
LOCK_AFTER_S = 60.0


def a_node(*, passphrase: str = RIGHT) -> ScriptedNode:
    """It is open; a passphrase opened it if there is one."""
    node = ScriptedNode(passphrase=passphrase)
    node.locked = False
    node.status_now = msgspec.structs.replace(node.status_now, has_passphrase=bool(passphrase))
    return node


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def is_locked(play: Stage) -> bool:
    return isinstance(play.app.screen, Locked)


@pytest.mark.parametrize("read_only", [False, True])
async def test_it_locks_when_idle_and_opens_with_the_passphrase(read_only: bool) -> None:
    clock = Clock()
    node = a_node()
    async with stage(node=node, lock_after_s=LOCK_AFTER_S, idle_clock=clock, read_only=read_only) as play:
        shown = play.picture
        clock.now = LOCK_AFTER_S - 1
        play.app.lock_if_idle()
        assert not is_locked(play)
        await play.press("j")
        clock.now += LOCK_AFTER_S - 1
        play.app.lock_if_idle()
        assert not is_locked(play), "a key was pressed meanwhile"
        clock.now += 1
        play.app.lock_if_idle()
        await play.until(lambda: is_locked(play))
        play.app.lock_if_idle()
        await play.settle()
        assert sum(isinstance(screen, Locked) for screen in play.app.screen_stack) == 1
        await play.until_shown("has locked itself")
        for pane in ("Peers", "Events", "Storage", "falcon-3"):
            assert pane in shown
            assert pane not in play.picture
        await play.press("escape", "q", "escape", "enter", "2", "ctrl+p")
        assert is_locked(play)
        assert "Peers" not in play.picture
        await play.press("backspace", "backspace")
        await play.type("battery staple")
        assert "battery" not in play.picture
        await play.press("enter")
        await play.until_shown("not the passphrase")
        await play.type(RIGHT)
        await play.press("enter")
        await play.until(lambda: not is_locked(play))
        await play.until_shown("Peers")
        unlocks = [one for one in node.commands if isinstance(one, Unlock)]
        assert unlocks[-1] == Unlock(RIGHT)


async def test_it_covers_an_open_dialog_too() -> None:
    clock = Clock()
    async with stage(node=a_node(), lock_after_s=LOCK_AFTER_S, idle_clock=clock) as play:
        await play.press("i")
        await play.until(lambda: play.app.screen is not play.app.desk)
        clock.now = LOCK_AFTER_S
        play.app.lock_if_idle()
        await play.until(lambda: is_locked(play))
        assert "MC1-" not in play.picture


async def test_a_home_without_a_passphrase_does_not_lock_its_owner_out() -> None:
    clock = Clock()
    async with stage(node=a_node(passphrase=""), lock_after_s=LOCK_AFTER_S, idle_clock=clock) as play:
        clock.now = 10 * LOCK_AFTER_S
        play.app.lock_if_idle()
        await play.settle()
        assert not is_locked(play)
        await play.press("colon")
        await play.type("lock")
        await play.press("enter")
        await play.until(lambda: "meshconsole passphrase" in play.notice)


async def test_it_locks_at_once_when_told_to() -> None:
    async with stage(node=a_node()) as play:
        play.app.desk.action_do("app.lock")
        await play.until(lambda: is_locked(play))


async def test_destroying_the_home_takes_the_word() -> None:
    node = a_node()
    async with stage(node=node) as play:
        play.app.desk.action_do("node.panic")
        await play.until_shown("Type destroy")
        await play.type("yes")
        await play.press("enter")
        await play.until_shown('not "destroy"')
        await play.press("escape")
        await play.until(lambda: play.app.screen is play.app.desk)
        assert not any(isinstance(one, Panic) for one in node.commands)
        play.app.desk.action_do("node.panic")
        await play.until_shown("Type destroy")
        await play.type("destroy")
        await play.press("enter")
        await play.until(lambda: any(isinstance(one, Panic) for one in node.commands))


async def test_the_owner_may_want_a_yes_or_no_question_at_all() -> None:
    node = a_node()
    node.config = with_values(node.config, {"console": {"panic_confirmation": "confirm"}})
    async with stage(node=node) as play:
        play.app.desk.action_do("node.panic")
        await play.until_shown("keep this home")
        await play.press("enter")
        await play.until(lambda: play.app.screen is play.app.desk)
        assert Panic() not in node.commands
        play.app.desk.action_do("node.panic")
        await play.until_shown("keep this home")
        await play.press("y")
        await play.until(lambda: Panic() in node.commands)
    node = a_node()
    node.config = with_values(node.config, {"console": {"panic_confirmation": "off"}})
    async with stage(node=node) as play:
        play.app.desk.action_do("node.panic")
        await play.until(lambda: Panic() in node.commands)


async def test_a_read_only_console_destroys_nothing() -> None:
    node = a_node()
    async with stage(node=node, read_only=True) as play:
        play.app.desk.action_do("node.panic")
        await play.until(lambda: "read-only" in play.notice)
        assert not any(isinstance(one, Panic) for one in node.commands)
