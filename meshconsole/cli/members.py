"""The member of the team that a command names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.cli.reading import node_status
from meshconsole.control.members import find_member

if TYPE_CHECKING:
    from meshconsole.core.home import Home
    from meshconsole.core.status import MemberStatus


def member_named(home: Home, who: str) -> MemberStatus:
    """As `find_member`, in the team as the node knows it now."""
    team = node_status(home).team
    return find_member(team.members if team else (), who)
