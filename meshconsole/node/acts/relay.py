"""What an operator does to the event store: walk it, carry it, make room in it, copy it.

Each act runs in small steps between which others read and write. What removes or copies events is
written to the audit log, with the filter that was given.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from meshconsole.control import messages as m
from meshconsole.control import relay as r
from meshconsole.core.errors import Fatal, Refused
from meshconsole.core.kinds import CONTROL_KINDS
from meshconsole.core.text import safe
from meshconsole.node.jsonl import Progress, export_events, import_events, import_lines
from meshconsole.relay.eviction import KEPT_KINDS, LAST_KINDS
from meshconsole.relay.filter import Filter, parse_filter
from meshconsole.relay.store import EvictionClass

if TYPE_CHECKING:
    from meshconsole.control.server import Report
    from meshconsole.node.ground import Ground

PAGE_BYTES = 4 << 20
VACUUM_PAGES = 256


class RelayActs:
    def __init__(self, node: Ground) -> None:
        self._node = node

    async def handle(self, command: m.Command, report: Report) -> m.Reply | None:
        """None when the command is not about the event store."""
        match command:
            case r.ScanRelay(filter=text, after=after, count=count):
                return await self._scan(text, after, count)
            case r.Import(path=path, resume=resume, refused_path=refused):
                return await self._import(Path(path), report, resume=resume, refused=refused)
            case r.ImportLines(lines=lines):
                return m.done(data=m.CountsData(await import_lines(self._node.relay, lines)))
            case r.Export(path=path, filter=text):
                wanted = read_filter(text)
                counts = await export_events(self._node.relay, Path(path), report, wanted, text)
                self._node.record("relay-export", filter=text, events=str(counts["exported"]))
                return m.done(data=m.CountsData(counts))
            case r.DeleteFromRelay(filter=text, dry_run=dry_run):
                return await self._delete(text, dry_run=dry_run)
            case r.EvictFromRelay(need_bytes=need_bytes, dry_run=dry_run):
                return await self._evict(need_bytes, dry_run=dry_run)
            case r.BackUpRelay(path=path):
                return await self._back_up(Path(path), report)
            case r.VacuumRelay():
                return await self._vacuum(report)
            case r.ShowRelayLists():
                return m.done(data=self._lists())
            case r.ChangeRelayLists():
                return await self._change_lists(command)
            case _:
                return None

    async def _scan(self, text: str, after: int | None, count: int) -> m.Reply:
        page = await asyncio.to_thread(self._node.store.scan, [read_filter(text)], after, count)
        if sum(map(len, page.raws)) > PAGE_BYTES and count > 1:
            return await self._scan(text, after, count // 2)
        return m.done(data=r.PageData(tuple(page.raws), page.after))

    async def _import(self, path: Path, report: Report, *, resume: bool, refused: str) -> m.Reply:
        progress = Progress(self._node.state, path) if resume else None
        counts, continued = await import_events(
            self._node.relay, path, report, progress, Path(refused) if refused else None
        )
        self._node.record("relay-import", file=str(path), new=str(counts["new"]))
        sentence = f"Went on where it was broken off, after {continued} bytes." if continued else ""
        return m.done(sentence, m.CountsData(counts))

    async def _delete(self, text: str, *, dry_run: bool) -> m.Reply:
        if not text.strip():
            raise Refused("invalid", "Say what is to be deleted; {} is everything.")
        wanted = read_filter(text)
        if wanted.kinds is not None and wanted.kinds & CONTROL_KINDS:
            raise Refused("restricted", "The team's roster and keys are not deleted.")
        filters = [msgspec.structs.replace(wanted, hidden=CONTROL_KINDS)]
        if dry_run:
            removed = await asyncio.to_thread(self._node.store.delete, filters, dry_run=True)
        else:
            removed = await self._node.relay.delete(filters)
            self._node.record("relay-delete", filter=text, events=str(removed.count))
        return m.done(data=r.RemovedData((r.RemovedClass("matching", removed.count, removed.bytes),)))

    async def _evict(self, need_bytes: int, *, dry_run: bool) -> m.Reply:
        classes = self._classes()
        total: dict[str, r.RemovedClass] = {}
        while True:
            step = await self._node.relay.evict(classes, need_bytes, dry_run=dry_run)
            for name, removed in step:
                before = total.get(name, r.RemovedClass(name, 0, 0))
                total[name] = r.RemovedClass(name, before.count + removed.count, before.bytes + removed.bytes)
            gone = sum(removed.bytes for _, removed in step)
            need_bytes -= gone
            if dry_run or need_bytes <= 0 or not gone:
                break
        if not dry_run:
            self._node.record("relay-evict", events=str(sum(row.count for row in total.values())))
        return m.done(data=r.RemovedData(tuple(total.values())))

    def _classes(self) -> list[EvictionClass]:
        """What is least missed first: what strangers wrote, then the team's own, oldest first."""
        team = self._node.membership.team
        members = frozenset(member.npub for member in team.members()) if team is not None else frozenset()
        everything = Filter(hidden=CONTROL_KINDS | KEPT_KINDS | LAST_KINDS)
        spared = members | {self._node.identity.npub}
        return [
            EvictionClass("others' events", everything, spared),
            EvictionClass("the team's events", everything),
            EvictionClass("requests to delete", Filter(kinds=LAST_KINDS)),
        ]

    def _lists(self) -> r.ListsData:
        lists = self._node.lists.current
        return r.ListsData(
            lists.banned_keys,
            lists.allowed_keys,
            lists.banned_events,
            lists.allowed_events,
            lists.blocked_ips,
            tuple(sorted(lists.allowed_kinds)),
            tuple(sorted(lists.disallowed_kinds)),
        )

    async def _change_lists(self, wanted: r.ChangeRelayLists) -> m.Reply:
        params: tuple[object, ...] = (wanted.subject, wanted.reason) if wanted.reason else (wanted.subject,)
        if wanted.act in ("allowkind", "disallowkind"):
            if not wanted.subject.isascii() or not wanted.subject.isdigit() or len(wanted.subject) > 5:
                raise Refused("invalid", "A kind is a number between 0 and 65535.")
            params = (int(wanted.subject),)
        await self._node.managing.act(self._node.identity.npub, wanted.act, *params)
        return m.done(data=self._lists())

    async def _back_up(self, path: Path, report: Report) -> m.Reply:
        loop = asyncio.get_running_loop()

        def copied(done: int, total: int) -> None:
            loop.call_soon_threadsafe(report, done, total, "copying")

        if await asyncio.to_thread(path.exists):
            raise Fatal(f"{safe(str(path))} exists already.", hint="Choose another name.")
        await asyncio.to_thread(self._node.store.backup, path, copied)
        self._node.record("relay-backup", file=str(path))
        return m.done(f"Copied to {safe(str(path))}; it opens with this home's keys only.")

    async def _vacuum(self, report: Report) -> m.Reply:
        before, pages = self._node.store.usage().bytes, 0
        while given := await asyncio.to_thread(self._node.store.vacuum_step, VACUUM_PAGES):
            pages += given
            report(pages, None, "pages given back")
        after = self._node.store.usage().bytes
        return m.done(
            data=m.CountsData({"pages given back": pages, "bytes before": before, "bytes now": after})
        )


def read_filter(text: str) -> Filter:
    """Raises Refused."""
    if not text.strip():
        return Filter()
    try:
        return parse_filter(msgspec.json.decode(text))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Refused("invalid", f"the filter is not valid JSON: {error}") from None
