"""Bundles for a courier: events and files between sites that never meet, on a stick.

The site that is to receive says what it has (`write_have`); the other packs what that site lacks (`pack`), in
parts of a size that fits; the first takes them (`take`) and gives the courier a receipt. Packing goes on
behind the parts that are there whole, taking knows which parts it has taken.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.store.roots import TEAM
from meshconsole.core.errors import Refused, RemoteError, Unavailable
from meshconsole.core.event import decode_event, encode_event
from meshconsole.core.kinds import COURIER_RECEIPT, MEMBERSHIP_KINDS
from meshconsole.core.text import safe
from meshconsole.node.courier_parts import Ahead, Parts, boxes_of, parts_at, parts_in
from meshconsole.node.jsonl import import_lines
from meshconsole.relay.filter import Filter
from meshconsole.team.courier import CAR_HEADER, CAR_SECTION, EVENT, EVENT_IDS, ROOT, PartReader, Receipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from pathlib import Path

    from meshconsole.content.service import Content
    from meshconsole.control.server import Report
    from meshconsole.crypto.identity import Identity
    from meshconsole.node.state import NodeState
    from meshconsole.relay.relay import Relay
    from meshconsole.team.courier import Frame
    from meshconsole.team.state import Team

PAGE = 500
IDS_PER_FRAME = 16_384
BATCH = 200
MAX_TAKEN = 4096
"""Parts whose names are remembered."""


@dataclass(slots=True)
class Have:
    """What a site has already."""

    events: set[bytes] = field(default_factory=set)
    roots: set[str] = field(default_factory=set)


class Courier:
    def __init__(
        self,
        *,
        me: Identity,
        team: Callable[[], Team | None],
        relay: Relay,
        content: Content,
        state: NodeState,
    ) -> None:
        """`state` remembers which parts were taken."""
        self._me = me
        self._find_team = team
        self._relay = relay
        self._content = content
        self._state = state

    async def write_have(self, path: Path, report: Report) -> dict[str, int]:
        """Raises Fatal for the disk, Refused where this device may not read."""
        team = self._team()
        out = Parts(self._me, team, path.parent, 0, name=path.name)
        ids: list[bytes] = []
        roots = self._whole_roots()
        try:
            async for raw in self._events():
                ids.append(bytes.fromhex(decode_event(raw).id))
                report(len(ids), None, "counting")
            for start in range(0, len(ids), IDS_PER_FRAME):
                await out.put(EVENT_IDS, b"".join(ids[start : start + IDS_PER_FRAME]))
            for cid in roots:
                await out.put(ROOT, cid.encode())
            await out.close()
        finally:
            await out.abandon()
        return {"events": len(ids), "files": len(roots)}

    async def pack(
        self, folder: Path, have_path: Path | None, split_bytes: int, report: Report
    ) -> dict[str, int]:
        """Raises Fatal for the disk, Refused (team, role), RemoteError for a have-list that is none."""
        team = self._team()
        have = await self._read_have([have_path] if have_path is not None else [])
        done = await asyncio.to_thread(parts_in, folder)
        # What an earlier attempt has packed is on the stick already.
        packed = await self._read_have(done)
        counts = Counter({"events": len(packed.events), "files": 0, "left out": 0})
        have.events |= packed.events
        out = Parts(self._me, team, folder, split_bytes, first=len(done))
        try:
            async for raw in self._events():
                if bytes.fromhex(decode_event(raw).id) not in have.events:
                    await out.put(EVENT, raw)
                    counts["events"] += 1
                    report(out.written, None, "packing")
            for cid in self._whole_roots():
                if cid in have.roots:
                    continue
                if cid not in packed.roots:
                    counts["left out"] += not await self._pack_file(cid, out, report)
                counts["files"] += 1
            await out.close()
        finally:
            await out.abandon()
        counts["files"] -= counts["left out"]
        return {**counts, "parts": len(done) + out.parts}

    async def take(self, paths: list[Path], report: Report) -> tuple[dict[str, int], str]:
        """Counts, and the place of the receipt; "" if nothing was new. A folder stands for its parts.

        Raises Refused for a bundle of another team or not for this device; a damaged part is counted and
        does not keep the others from being taken.
        """
        self._team()
        places = paths
        paths = [part for path in places for part in await asyncio.to_thread(parts_at, path)]
        taken: list[str] = self._state.get("courier-taken", list[str], [])
        counts: Counter[str] = Counter()
        parts: list[str] = []
        for done, path in enumerate(paths):
            report(done, len(paths), "taking")
            try:
                name = await self._take_part(path, taken, counts)
            except RemoteError as error:
                counts[f"damaged: {safe(path.name, 80)}: {error.sentence}"] += 1
                continue
            if name:
                parts.append(name)
                taken = [*taken, name][-MAX_TAKEN:]
                await asyncio.to_thread(self._state.put, "courier-taken", taken)
        if not parts:
            return dict(counts), ""
        content = msgspec.json.encode(Receipt(1, parts, dict(counts))).decode()
        receipt = self._me.sign(COURIER_RECEIPT, (), content, int(time.time()))
        await self._relay.publish(receipt, via="local")
        place = await asyncio.to_thread(_write_receipt, paths[0].parent, encode_event(receipt), receipt.id)
        return dict(counts), str(place)

    # Parts

    async def _pack_file(self, cid: str, out: Parts, report: Report) -> bool:
        """False if it is not whole after all; then what was packed of it does no harm."""
        header = b""
        try:
            async for piece in self._content.export_car(cid):
                if not header:
                    header = piece
                    await out.put(CAR_HEADER, header)
                elif await out.put(CAR_SECTION, piece, again=((CAR_HEADER, header),)):
                    report(out.written, None, "packing")
        except (Unavailable, RemoteError):
            return False
        # Only now: who goes on behind these parts must find it whole in them.
        await out.put(ROOT, cid.encode())
        return True

    async def _take_part(self, path: Path, taken: list[str], counts: Counter[str]) -> str:
        """The part's name if it was new. A file is taken box by box, its blocks file by file."""
        reader = PartReader(self._me, self._team().team_id)
        pieces = Ahead(boxes_of(path, reader))
        await pieces.peek()
        name = f"{reader.label.bundle}-{reader.label.part}"
        if name in taken:
            counts["parts taken before"] += 1
            return ""
        lines: list[bytes] = []
        while (frame := await pieces.peek()) is not None:
            if frame[0] == CAR_HEADER:
                await self._take_file(pieces, counts)
                continue
            kind, data = await pieces.next()
            if kind == EVENT:
                lines.append(data)
            if len(lines) >= BATCH:
                await self._take_events(lines, counts)
        await self._take_events(lines, counts)
        counts["parts"] += 1
        return name

    async def _take_events(self, lines: list[bytes], counts: Counter[str]) -> None:
        if lines:
            found = await import_lines(self._relay, lines)
            counts.update({f"events {word}": count for word, count in found.items() if count})
            lines.clear()

    async def _take_file(self, pieces: Ahead, counts: Counter[str]) -> None:
        async def car() -> AsyncIterator[bytes]:
            yield (await pieces.next())[1]
            while (frame := await pieces.peek()) is not None and frame[0] == CAR_SECTION:
                yield (await pieces.next())[1]

        imported = await self._content.import_car(car(), owner=TEAM)
        counts["blocks"] += imported.blocks

    async def _read_have(self, paths: Iterable[Path]) -> Have:
        have = Have()
        for path in paths:
            reader = PartReader(self._me, self._team().team_id)
            await asyncio.to_thread(_collect, boxes_of(path, reader), have)
        return have

    async def _events(self) -> AsyncIterator[bytes]:
        wanted = msgspec.structs.replace(Filter(), hidden=MEMBERSHIP_KINDS)
        after: int | None = None
        while True:
            page = await asyncio.to_thread(self._relay.store.scan, [wanted], after, PAGE)
            for raw in page.raws:
                yield raw
            if page.after is None:
                return
            after = page.after

    def _whole_roots(self) -> list[str]:
        content = self._content
        return [root.cid for root in content.roots() if content.presence(root.cid).complete]

    def _team(self) -> Team:
        team = self._find_team()
        if team is None:
            raise Refused("restricted", "Bundles are sealed for a team, and this node has none yet.")
        if not team.may_read(self._me.npub):
            raise Refused("restricted", "This device's role holds no key of the team: it packs no bundles.")
        return team


def _collect(boxes: Iterator[list[Frame]], have: Have) -> None:
    for box in boxes:
        for kind, data in box:
            if kind == EVENT_IDS:
                have.events.update(data[start : start + 32] for start in range(0, len(data), 32))
            elif kind == EVENT:
                have.events.add(bytes.fromhex(decode_event(data).id))
            elif kind == ROOT:
                have.roots.add(data.decode("ascii", "replace"))


def _write_receipt(folder: Path, receipt: bytes, id_: str) -> Path:
    """Beside what was carried, or in words if the stick can take no more: it was taken all the same."""
    place = folder / f"receipt-{id_[:8]}.json"
    try:
        place.write_bytes(receipt + b"\n")
    except OSError as error:
        raise Unavailable(
            f"Everything was taken, but no receipt could be written to {safe(str(place))}: {error.strerror}.",
            hint="The receipt is among the team's events.",
        ) from error
    return place
