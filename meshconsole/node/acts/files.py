"""What a console may ask about files: to share, fetch, keep and check them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.content.store.roots import OWNER, Pin
from meshconsole.control import files as f
from meshconsole.control import messages as m
from meshconsole.core.errors import Unavailable
from meshconsole.core.status import JobView
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.control.server import Report
    from meshconsole.node.files import TeamFiles
    from meshconsole.node.ground import Ground


def size_in_mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


class FileActs:
    """The part of the node's `ControlHandler` that speaks of files."""

    def __init__(self, node: Ground) -> None:
        self._node = node

    async def handle(self, command: m.Command, report: Report) -> m.Reply | None:
        """None when the command is not about files. Raises MeshconsoleError."""
        match command:
            case f.ListBlobs():
                return m.done(data=f.BlobsData(self._files.views()))
            case f.AddBlob(path=path):
                view = await self._files.add(Path(path), report)
                self._node.record("file-added", cid=view.cid)
                return m.done(f"Added {safe(view.name)}.", f.BlobsData((view,)))
            case f.GetBlob(cid=cid, destination=destination):
                written = await self._files.get(cid, Path(destination), report)
                self._node.record("file-opened", cid=cid)
                return m.done(f"Written to {written}.", f.BlobsData((self._files.view(cid),)))
            case f.Pin(cid=cid, min_replicas=least, max_replicas=most, expires_at=end):
                view = await self._files.pin(cid, Pin(OWNER, least, most, end))
                return m.done("Kept on this node.", f.BlobsData((view,)))
            case f.Unpin(cid=cid):
                return m.done("May be dropped now.", f.BlobsData((await self._files.unpin(cid),)))
            case _:
                return await self._handle_jobs(command, report)

    async def _handle_jobs(self, command: m.Command, report: Report) -> m.Reply | None:
        match command:
            case f.FetchBlob(cid=cid):
                return m.done(await self._files.start_fetch(cid))
            case f.PreviewBlob(cid=cid):
                lines = await self._files.preview(cid)
                self._node.record("file-read", cid=cid)
                return m.done(data=m.LinesData(lines))
            case f.PauseFetch(cid=cid):
                await self._files.pause_fetch(cid)
                return m.done("Paused. Go on: meshconsole blobs resume CID")
            case f.CancelFetch(cid=cid):
                await self._files.cancel_fetch(cid)
                return m.done("Forgotten. What came stays until room is needed.")
            case f.ListJobs():
                return m.done(data=f.JobsData(self._jobs()))
            case f.ScrubBlobs():
                return await self._scrub(report)
            case f.DropBlob(cid=cid, force=force):
                freed = await self._files.drop(cid, force=force)
                self._node.record("file-dropped", cid=cid)
                return m.done(f"Removed from this node: {size_in_mb(freed)} are free again.")
            case f.ExportCar(cids=cids, path=path):
                written = await self._files.export_car(cids, Path(path), report)
                return m.done(data=m.CountsData({"files": len(cids), "bytes": written}))
            case f.ImportCar(path=path):
                taken = await self._files.import_car(Path(path), report)
                counts = {"roots": len(taken.roots), "blocks": taken.blocks, "not supported": taken.skipped}
                return m.done(data=m.CountsData(counts))
            case _:
                return await self._handle_bundles(command, report)

    async def _handle_bundles(self, command: m.Command, report: Report) -> m.Reply | None:
        from meshconsole.node.courier import Courier  # only here: bundles are rare

        if self._node.content is None:
            return None
        courier = Courier(
            me=self._node.identity,
            team=lambda: self._node.membership.team,
            relay=self._node.relay,
            content=self._node.content,
            state=self._node.state,
        )
        match command:
            case f.WriteHave(path=path):
                counts = await courier.write_have(Path(path), report)
                return m.done(data=m.CountsData(counts))
            case f.PackBundle(folder=folder, have=have, split_bytes=split_bytes):
                counts = await courier.pack(Path(folder), Path(have) if have else None, split_bytes, report)
                self._node.record("bundle-packed", **{name: str(count) for name, count in counts.items()})
                return m.done(data=m.CountsData(counts))
            case f.TakeBundle(paths=paths):
                counts, receipt = await courier.take([Path(path) for path in paths], report)
                self._node.record("bundle-taken", parts=str(counts.get("parts", 0)))
                sentence = f"The courier's receipt is {receipt}." if receipt else ""
                return m.done(sentence, m.CountsData(counts))
            case _:
                return None

    def _jobs(self) -> tuple[JobView, ...]:
        return tuple(
            JobView(
                cid=job.cid,
                name=self._files.name_of(job.cid),
                have_bytes=job.have_bytes,
                total_bytes=job.total_bytes,
                state=job.state,
                peers=job.peers,
                error=job.error,
            )
            for job in self._files.jobs()
        )

    async def _scrub(self, report: Report) -> m.Reply:
        counts = {"read": 0, "damaged": 0}
        async for step in self._files.scrub():
            counts = {"read": step.blocks, "damaged": step.damaged}
            report(step.bytes, None, "checking")
        self._node.record("scrub", **{name: str(count) for name, count in counts.items()})
        sentence = ""
        if counts["damaged"]:
            sentence = "Damaged blocks were set aside and are fetched again from teammates who hold them."
        return m.done(sentence, m.CountsData(counts))

    @property
    def _files(self) -> TeamFiles:
        if self._node.files is None:
            raise Unavailable("The file store is not open yet.", hint="Try again in a moment.")
        return self._node.files
