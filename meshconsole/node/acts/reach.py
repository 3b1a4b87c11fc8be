"""What the node answers about the way to other devices. What finds causes is loaded by the first who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.control import messages as m
from meshconsole.control.reach import (
    DiagnosisData,
    FindingsData,
    HopsData,
    Netcheck,
    PingPeer,
    PongData,
    ReachCommand,
    TracePeer,
    WhyPeer,
)
from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshconsole.core.reachability import Finding
    from meshconsole.core.status import PeerStatus
    from meshconsole.node.ground import Ground


async def answer_about_reach(
    node: Ground, command: ReachCommand, others: Callable[[tuple[PeerStatus, ...]], Iterable[Finding]]
) -> m.Reply:
    """`others` finds what netcheck tells beside the network. Raises Unavailable while the mesh is not up, and
    as `Reach` does."""
    if node.mesh is None:
        raise Unavailable("The node is still starting.", hint="Try again in a moment.")
    reach = node.mesh.reach
    match command:
        case PingPeer(who=who):
            return m.done(data=PongData(await reach.ping(who)))
        case TracePeer(who=who):
            return m.done(data=HopsData(await reach.trace(who)))
        case WhyPeer(who=who):
            from meshconsole.mesh.reach.diagnosis import diagnose
            from meshconsole.mesh.reach.examine import examine

            return m.done(data=DiagnosisData(diagnose(await examine(reach, who))))
        case Netcheck():
            from meshconsole.mesh.reach.netcheck import netcheck

            return m.done(data=FindingsData((*await netcheck(reach), *others(node.mesh.status()))))
