"""The settings that the first run asks for and the settings screen changes, in words. Pure.

What a value may be is `core.config`'s business; here is how a person is asked for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from meshconsole.core.config import Config, Values, field_types, section_types, to_values
from meshconsole.core.setup import OPT_INS, OptIn


@dataclass(frozen=True, slots=True)
class Setting:
    """`key` is "section.name"; `help` is one sentence or two."""

    key: str
    title: str
    help: str
    unit: str = ""

    @property
    def section(self) -> str:
        return self.key.partition(".")[0]

    @property
    def name(self) -> str:
        return self.key.partition(".")[2]

    @property
    def kind(self) -> type[Any] | tuple[str, ...]:
        """bool, int, float, str, tuple, or the words that it may be."""
        annotation = field_types(section_types()[self.section])[self.name]
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        if get_origin(annotation) is Literal:
            return tuple(str(word) for word in get_args(annotation))
        origin = get_origin(annotation) or annotation
        assert isinstance(origin, type)
        return origin


def explain(opt_in: OptIn) -> str:
    return "\n".join(
        (
            f"Shares: {opt_in.shares}",
            f"Costs: {opt_in.costs}",
            f"Gives: {opt_in.gives}",
            f"Needs: {opt_in.needs}",
        )
    )


CAPABILITIES: tuple[Setting, ...] = tuple(
    Setting(f"capabilities.{opt_in.key}", opt_in.title, explain(opt_in)) for opt_in in OPT_INS
)

LIMITS: tuple[Setting, ...] = (
    Setting(
        "limits.max_storage_mb", "Storage", "The most that events and files may take on this disk.", "MB"
    ),
    Setting(
        "limits.max_bandwidth_mbps",
        "Bandwidth",
        "In each direction, all peers and clients together. 0 is no limit.",
        "Mbit/s",
    ),
    Setting(
        "limits.max_link_mbps",
        "Bandwidth of each",
        "In each direction, of each peer and client. 0 is no limit but that of all together.",
        "Mbit/s",
    ),
    Setting("limits.max_connections", "Connections", "Peers and clients at the same time."),
    Setting("limits.max_memory_mb", "Memory", "Above this the node sheds work. 0 is no limit.", "MB"),
    Setting(
        "limits.performance_mode",
        "Performance",
        "saver spares the battery, full uses every core when there is work, auto goes by battery and heat.",
    ),
)

PRIVACY: tuple[Setting, ...] = (
    Setting(
        "privacy.share_with_team_only",
        "Share with the team only",
        "On: strangers can neither read nor write here. Off: the relay is public.",
    ),
    Setting(
        "privacy.require_authentication",
        "Clients must log in",
        "On: a Nostr client proves its key first (NIP-42).",
    ),
    Setting(
        "privacy.allow_public_discovery",
        "Be found by strangers",
        "On: this node tells its address outside of the team. Off: only teammates recognise it.",
    ),
)

CONSOLE: tuple[Setting, ...] = (
    Setting("console.theme", "Theme", "Colours of the console. Your own go into themes/ in the home."),
    Setting("console.glyphs", "Signs", "auto asks the terminal; ascii works everywhere. Next console."),
    Setting(
        "console.frames_per_second",
        "Frames",
        "How often the console is told of news. Less is less traffic over SSH.",
        "a second",
    ),
    Setting(
        "console.panic_confirmation",
        "Panic asks for",
        "What :panic wants before it destroys this home: a typed word, a yes, or nothing.",
    ),
)

IDENTITY: tuple[Setting, ...] = (
    Setting("node.name", "Name of this node", "What teammates see beside what it sends."),
    Setting("node.listen", "Listens on", "HOST:PORT for the relay and for links."),
)

FIRST_RUN: tuple[Setting, ...] = (*LIMITS, *PRIVACY)
ALL: tuple[Setting, ...] = (*IDENTITY, *CAPABILITIES, *LIMITS, *PRIVACY, *CONSOLE)


def value_of(values: Values, setting: Setting) -> object:
    """A node of another version may not know a key: the default stands for it."""
    default = to_values(Config())[setting.section][setting.name]
    return values.get(setting.section, {}).get(setting.name, default)


NO_LIMIT = ("limits.max_bandwidth_mbps", "limits.max_link_mbps", "limits.max_memory_mb")
"""Where 0 means that."""


def in_words(setting: Setting, value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value == 0 and setting.key in NO_LIMIT:
        return "no limit"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{number} {setting.unit}".strip()


def next_value(setting: Setting, value: object, words: tuple[str, ...] = ()) -> object | None:
    """What one press changes the value to; None for a value that has to be typed."""
    if isinstance(value, bool):
        return not value
    kind = setting.kind
    options = words or (kind if isinstance(kind, tuple) else ())
    if not options:
        return None
    return options[(options.index(str(value)) + 1) % len(options) if value in options else 0]
