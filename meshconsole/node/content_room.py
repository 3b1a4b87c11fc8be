"""The content room inside the node: the store, the team's files, their copies, and who is given what."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.content.formats.varint import decode_varint
from meshconsole.content.replication import Targets
from meshconsole.core import kinds
from meshconsole.core.errors import Fatal
from meshconsole.core.event import decode_event
from meshconsole.node.files import TeamFiles
from meshconsole.node.replicating import Replicating
from meshconsole.node.scrub_keeping import ScrubKeeping
from meshconsole.node.sharing import Sharing
from meshconsole.relay.filter import Filter

if TYPE_CHECKING:
    from collections.abc import Collection

    from meshconsole.content.service import Content
    from meshconsole.content.store.blocks import BlockStore
    from meshconsole.core.config import Config
    from meshconsole.node.ground import Ground

CONTROL_LIMIT = 1_000_000
HOUR_S = 3600.0
OWNER_DIGITS = 16
"""Of the device's key, in hex: by these a Kubo node tells whose a block is."""


def make_content(node: Ground, key: bytes) -> Content:
    from meshconsole.content.service import Content  # only here: a home that stays locked needs none of it

    return Content(
        node.home.blobs,
        key,
        quota=node.governor.quota.blocks,
        emit=node.bus.publish,
        clock=time.time,
        peer_rate_bps=peer_rate_bps(node.config),
        blocks=_in_kubo(node) if node.config.content.backend == "kubo" else None,
    )


def _in_kubo(node: Ground) -> BlockStore:
    """Raises Fatal, Refused for a configuration that cannot be meant."""
    from meshconsole.content.store.kubo import KuboBlocks
    from meshconsole.content.store.kubo_rpc import Address, KuboRpc

    content = node.config.content
    rpc = KuboRpc(Address.parse(content.kubo_api), _secret(content.kubo_token_file))
    return KuboBlocks(rpc, node.identity.npub[:OWNER_DIGITS])


def _secret(path: str) -> str:
    if not path:
        return ""
    file = Path(path).expanduser()
    try:
        if file.stat().st_mode & 0o077:
            raise Fatal(
                f"Others may read {path}, which holds a secret.", hint=f"Close it to them: chmod 600 {path}"
            )
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Fatal(f"Cannot read {path}: {why}.", hint="Correct content.kubo_token_file.") from error


def make_scrubbing(node: Ground, content: Content) -> ScrubKeeping:
    return ScrubKeeping(
        content,
        node.state,
        days=lambda: node.config.content.scrub_days,
        must_wait=lambda: bool(node.governor.degrading.standing()),
        record=node.record,
        clock=time.time,
    )


def make_files(node: Ground, content: Content) -> TeamFiles:
    def changed(cid: str) -> None:
        if node.files is not None:
            node.files.presence_changed(cid)

    node.replicating = Replicating(
        content=content,
        identity=node.identity,
        team=lambda: node.membership.team,
        publish=node.publish,
        linked=lambda: linked(node),
        targets=lambda: targets(node.effective),
        room=node.governor.quota.room,
        changed=changed,
        clock=time.time,
        gives=lambda: node.config.capabilities.ipfs_node,
        must_wait=lambda: "copies-wait" in node.governor.degrading,
    )
    return TeamFiles(
        content,
        lambda: node.membership.team,
        node.publish,
        lambda view: node.control.blobs_happened([view]),
        time.time,
        node.replicating.copies,
    )


def make_sharing(node: Ground, content: Content) -> Sharing:
    def towards(cid: str) -> Collection[str]:
        if node.replicating is None or node.mesh is None:
            return ()
        return node.mesh.towards(node.replicating.holders(cid))

    content.pass_towards(towards)
    return Sharing(
        content,
        lambda: node.membership.team,
        gives=lambda: node.config.capabilities.ipfs_node,
        passes_on=lambda: node.config.content.pass_on and "copies-wait" not in node.governor.degrading,
    )


async def learn_files(node: Ground) -> None:
    """Everything that is stored about files."""
    if node.files is None or node.replicating is None:
        return
    for raw in await node.relay.query([Filter(kinds=frozenset({kinds.HOLDINGS}))], CONTROL_LIMIT):
        node.replicating.learn(decode_event(raw))
    for raw in reversed(
        await node.relay.query([Filter(kinds=frozenset({kinds.FILE_MANIFEST}))], CONTROL_LIMIT)
    ):
        node.files.learn(decode_event(raw))


def is_of_team(node: Ground, root: bytes) -> bool:
    """Whether a manifest names the root with this multihash, or a teammate's device keeps it."""
    files, replicating = node.files, node.replicating
    if files is None or replicating is None:
        return True
    return any(files.knows(cid) or replicating.holders(cid) for cid in _cids_of(root))


@functools.lru_cache(maxsize=1024)
def _cids_of(multihash: bytes) -> tuple[str, ...]:
    """Every CID that a root of this multihash can have here."""
    from meshconsole.content.formats.cid import CODECS, DAG_PB, SHA2_256, Cid

    hash_code, at = decode_varint(multihash, 0)
    digest = multihash[decode_varint(multihash, at)[1] :]
    roots = [Cid(1, codec, hash_code, digest) for codec in CODECS]
    if hash_code == SHA2_256:
        roots.append(Cid(0, DAG_PB, hash_code, digest))
    return tuple(map(str, roots))


def linked(node: Ground) -> Collection[str]:
    """Devices with a link now."""
    return [peer.npub for peer in node.mesh.status() if peer.links] if node.mesh is not None else []


def targets(config: Config) -> Targets:
    content = config.content
    return Targets(content.min_replicas, content.max_replicas, content.replica_grace_hours * HOUR_S)


def peer_rate_bps(config: Config) -> float:
    return config.content.peer_mbps * 1e6 / 8
