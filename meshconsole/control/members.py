"""Which member somebody means by a name or by the beginning of a key. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal

if TYPE_CHECKING:
    from meshconsole.core.status import MemberStatus


def find_member(members: tuple[MemberStatus, ...], who: str) -> MemberStatus:
    """The one member with this name, or whose key begins with it. Raises Fatal, also where a name and
    another one's key fit: nobody may get in the way of a key by the name they chose."""
    found = [
        member
        for member in members
        if member.name == who or (len(who) >= 4 and member.npub.startswith(who.lower()))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise Fatal(
            f"{len(found)} members fit {who!r}.", hint="Give more of the key: meshconsole team members"
        )
    raise Fatal(f"The team has no member {who!r}.", hint="See: meshconsole team members")
