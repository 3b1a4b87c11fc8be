"""Which Unix groups may attach beside the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.control.rights import Groups
from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    from meshconsole.core.sections import ControlSection


def sharing_groups(section: ControlSection) -> Groups:
    """Raises Fatal for a group that this machine does not know."""
    return Groups(
        _number("control.operators", section.operators), _number("control.watchers", section.watchers)
    )


def _number(key: str, name: str) -> int | None:
    if not name:
        return None
    from grp import getgrnam

    try:
        return getgrnam(name).gr_gid
    except KeyError as error:
        raise Fatal(
            f"{key}: there is no group {name!r} on this machine.",
            hint=f"Make it (sudo groupadd {name}), or correct {key}.",
        ) from error
