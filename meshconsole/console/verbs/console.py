"""The console itself: settings, theme, palette, command line, help, quit, unlock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.actions import parse_command
from meshconsole.console.ink import HIDING
from meshconsole.console.screens.dialog import Ask, Choice, Choose
from meshconsole.console.screens.help import Help
from meshconsole.console.screens.palette import Palette
from meshconsole.console.screens.settings import Settings
from meshconsole.console.screens.themepicker import ThemePicker
from meshconsole.console.shell import Shell
from meshconsole.console.verbs.registry import attempt, verb
from meshconsole.console.widgets.entryline import Question
from meshconsole.control.config import ConfigData, GetConfig, SetConfig
from meshconsole.control.keys import Panic
from meshconsole.control.messages import Stop
from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.console.desk import Desk

DESTROY = "destroy"
ASKED = "Destroy this home?"


@verb("app.help")
def show_help(desk: Desk, _: str) -> None:
    desk.app.push_screen(Help(desk.keymap.actions, desk.profile))


@verb("app.palette")
async def show_palette(desk: Desk, _: str) -> None:
    chosen = await desk.app.push_screen_wait(Palette(desk.keymap.actions, desk.profile))
    if chosen:
        desk.action_do(chosen)


@verb("app.command")
def command_line(desk: Desk, _: str) -> None:
    async def run(text: str) -> bool:
        found = parse_command(text)
        if isinstance(found, str):
            desk.say(safe(found), "warn")
            return False
        action, argument = found
        # After the line has closed, because the action may ask something in it.
        desk.call_after_refresh(desk.action_do, action.id, argument)
        return True

    desk.ask(Question(":", run, placeholder="a command; ? lists them all", enter="does it"))


@verb("app.settings")
async def settings(desk: Desk, _: str) -> None:
    reply = await attempt(desk, GetConfig())
    if reply is None or not isinstance(reply.data, ConfigData):
        return
    desk.app.push_screen(Settings(reply.data, desk))


@verb("app.theme")
async def theme(desk: Desk, name: str) -> None:
    app = desk.app
    assert isinstance(app, Shell)
    names = sorted(app.themes)
    if not names:
        desk.say("No themes are installed.", "warn")
        return
    if name and name not in names:
        desk.say(f"There is no theme {safe(name, 32)}. There are: {', '.join(names)}.", "warn")
        return
    now = app.theme.removeprefix("mc-")
    picked = name
    if not name:
        themes = [app.themes[each] for each in names]
        answer = await app.push_screen_wait(ThemePicker(themes, now, desk.profile))
        if answer is None:
            return
        picked = answer
    keep, _, chosen = picked.rpartition(" ")
    app.use_theme(chosen)
    if keep and await attempt(desk, SetConfig({"console": {"theme": chosen}})) is None:
        return
    how = "It is this home's from now on." if keep else "On this console only; s in the picker keeps it."
    ansi = " With 16 colours and without colour all themes look alike." if app.ansi_color else ""
    desk.say(f"Theme: {app.themes[chosen].title}. {how}{ansi}")


@verb("app.privacy")
def privacy(desk: Desk, _: str) -> None:
    hidden = not desk.app.has_class(HIDING)
    desk.hide(hidden)
    key = desk.keymap.key("app.privacy")
    words = f"Texts, names and addresses are hidden; {key} shows them." if hidden else "Everything is shown."
    desk.say(words, private=False)


@verb("app.reconnect")
def reconnect(desk: Desk, _: str) -> None:
    if desk.current == "audit" and not desk.model.stale:
        desk.action_do("view.audit")
    elif desk.model.stale:
        desk.session.try_again()
        desk.say("Looking for the node.", "dim")
    else:
        desk.say("The node is attached.", "good")


@verb("app.lock")
def lock(desk: Desk, _: str) -> None:
    app = desk.app
    assert isinstance(app, Shell)
    if desk.model.status is None:
        desk.say("There is nothing to hide yet: the node has not told anything.", "warn")
    elif not app.lock():
        desk.say("No passphrase opened this home: set one with 'meshconsole passphrase'.", "warn")


@verb("node.panic")
async def panic(desk: Desk, _: str) -> None:
    """As console.panic_confirmation says."""
    if not await _confirmed(desk):
        return
    if await attempt(desk, Panic()) is not None:
        desk.app.exit(message="The keys of this home are destroyed; the node deletes the files.")


async def _confirmed(desk: Desk) -> bool:
    """Where the policy cannot be learnt, the strictest holds."""
    try:
        data = (await desk.session.call(GetConfig())).data
    except MeshconsoleError:
        data = None
    policy = data.values.get("console", {}).get("panic_confirmation") if isinstance(data, ConfigData) else ""
    if policy == "off":
        return True
    sentences = [
        "This destroys the keys of this home at once, and then everything in it: notes, files, the identity.",
        "Nothing brings it back but a backup. Have the device removed from its team afterwards.",
    ]
    if policy == "confirm":
        choices = [Choice("", "keep this home"), Choice(DESTROY, "destroy it", "y")]
        chosen = await desk.app.push_screen_wait(Choose(ASKED, sentences, choices, desk.profile))
        return bool(chosen)
    sentences.append(f"Type {DESTROY} to do it.")
    typed = await desk.app.push_screen_wait(Ask(ASKED, sentences, must_be=DESTROY))
    return bool(typed)


@verb("app.quit")
async def leave(desk: Desk, _: str) -> None:
    """Asks whether the node stays, unless there is none to ask about or none may be stopped."""
    if desk.model.link not in ("attached", "silent") or desk.session.read_only:
        desk.app.exit()
        return
    answer = await desk.app.push_screen_wait(
        Choose(
            "Leave the console",
            ["The node works on its own: it can keep serving the team without this console."],
            [
                Choice("keep", "Keep it running", "k", "come back with: meshconsole"),
                Choice("stop", "Stop the node", "s", "teammates cannot reach it until it is started"),
                Choice("stay", "Stay here", "c"),
            ],
            desk.profile,
        )
    )
    if answer == "keep" or (answer == "stop" and await attempt(desk, Stop(), "Stopping.") is not None):
        desk.app.exit()


async def unlock(desk: Desk) -> None:
    """Asks for the passphrase of a locked home until it is right or the person gives up."""
    sentences = ["The node runs, but its home is locked: nothing can be read or written yet."]
    while True:
        passphrase = await desk.app.push_screen_wait(Ask("Passphrase", sentences, password=True))
        if passphrase is None:
            desk.app.exit()
            return
        try:
            await desk.session.unlock(passphrase)
        except MeshconsoleError as error:
            sentences = [safe(str(error)), "Try again; Esc leaves the console."]
        else:
            return
