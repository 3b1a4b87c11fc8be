"""Events as JSON lines, in and out: one event per line, any author's, checked like any other.

Used to carry events by hand and to take over another relay's. A bad line is counted and named, and
does not keep the others from being taken.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections import Counter
from typing import TYPE_CHECKING

from meshconsole.core.errors import Fatal
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from meshconsole.control.server import Report
    from meshconsole.relay.relay import Relay

BATCH = 200
MAX_LINE_BYTES = 1 << 20
PAGE = 500
REFUSED = "refused"
MAX_REASONS = 20


async def import_events(relay: Relay, path: Path, report: Report) -> dict[str, int]:
    """Counts by what became of each line. Raises Fatal when the file cannot be read."""
    counts: Counter[str] = Counter()
    batches = _batches(path)
    done = 0
    try:
        total = await asyncio.to_thread(os.path.getsize, path)
        while batch := await asyncio.to_thread(next, batches, None):
            counts.update(await _take(relay, batch))
            done += sum(len(line) + 1 for line in batch)
            report(min(done, total), total, "importing")
    except OSError as error:
        raise Fatal(f"Cannot read {safe(str(path))}: {error.strerror}.") from error
    return _in_order(counts)


async def import_lines(relay: Relay, lines: Iterable[bytes]) -> dict[str, int]:
    return _in_order(await _take(relay, [line for line in lines if line.strip()]))


async def export_events(relay: Relay, path: Path, report: Report) -> dict[str, int]:
    """Writes every stored event, oldest arrival first; the file appears whole or not at all."""
    count, after = 0, 0
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".meshconsole-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                while rows := await relay.feed(after, PAGE):
                    after = rows[-1].seq
                    count += len(rows)
                    await asyncio.to_thread(file.write, b"".join(row.raw + b"\n" for row in rows))
                    report(count, None, "exporting")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise Fatal(f"Cannot write {safe(str(path))}: {error.strerror}.") from error
    return {"exported": count}


async def _take(relay: Relay, lines: list[bytes]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for verdict in await relay.publish_many([line.strip() for line in lines], via="import", trusted=True):
        if not verdict.accepted:
            counts[f"{REFUSED}: {verdict.message}"] += 1
        elif verdict.code == "duplicate":
            counts["already here"] += 1
        else:
            counts["new"] += 1
    return counts


def _batches(path: Path) -> Iterator[list[bytes]]:
    """Lines in batches; one that is too long is cut, and then refused like any malformed one."""
    with path.open("rb") as file:
        batch: list[bytes] = []
        while line := file.readline(MAX_LINE_BYTES):
            if line.strip():
                batch.append(line)
            if len(batch) >= BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


def _in_order(counts: Counter[str]) -> dict[str, int]:
    """What was taken, then what was refused by reason, the commonest first; rare reasons as one."""
    main = {name: counts.pop(name, 0) for name in ("new", "already here")}
    reasons = dict(counts.most_common(MAX_REASONS))
    others = counts.total() - sum(reasons.values())
    return main | reasons | ({f"{REFUSED} for other reasons": others} if others else {})
