"""Who hears whom in the team, as far as this node knows: by its links, and by what beacons say. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.status import Frozen

if TYPE_CHECKING:
    from meshconsole.core.status import NodeStatus


class MapRow(Frozen, frozen=True):
    """One device. Of what is in neither tuple nothing is known: far devices do not say whom they hear."""

    npub: str
    name: str
    hears: tuple[str, ...] = ()
    """By npub, as is the other."""
    deaf_to: tuple[str, ...] = ()
    """Whom it is known not to hear."""
    via: str = ""
    """For a device without a link: how its newest event came; see PeerStatus."""
    here: bool = False


def mesh_map(status: NodeStatus) -> tuple[MapRow, ...]:
    """This node first."""
    me = status.npub
    heard = tuple(peer.npub for peer in status.peers if peer.state == "up" or peer.heard_by)
    rows = [MapRow(me, status.name, heard, here=True)]
    for peer in status.peers:
        others = tuple(npub for npub in peer.hears if npub not in (me, peer.npub))
        rows.append(
            MapRow(
                peer.npub,
                peer.name,
                (me, *others) if peer.hears_us else others,
                (me,) if peer.hears_us is False else (),
                "" if peer.links else peer.via,
            )
        )
    return tuple(rows)
