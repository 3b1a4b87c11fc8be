"""Files of blocks, out of the store and into it: for a stick or a card carried by hand."""

from __future__ import annotations

from collections.abc import AsyncIterable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.car import CarReader, encode_header, encode_section
from meshconsole.content.formats.cid import CODECS, Cid
from meshconsole.content.reader import inline
from meshconsole.content.walk import links_of
from meshconsole.core.errors import RemoteError, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from meshconsole.content.adding import Source
    from meshconsole.content.store.roots import Root
    from meshconsole.content.store.store import Store


class Imported(msgspec.Struct, frozen=True):
    """`blocks` were taken in; `skipped` are in formats or under hashes that are not supported here."""

    roots: tuple[str, ...]
    blocks: int
    skipped: int


async def export_car(store: Store, roots: Sequence[Cid]) -> AsyncIterator[bytes]:
    """A CAR file in pieces: each block below the roots once, parents before children.

    Raises Unavailable if something is missing, CorruptData, RemoteError for a tree that is none.
    """
    yield encode_header(roots)
    seen: set[bytes] = set()
    stack = list(reversed(roots))
    with store.room.holding({root.multihash for root in roots}):
        while stack:
            cid = stack.pop()
            if cid.multihash in seen:
                continue
            seen.add(cid.multihash)
            data = inline(cid)
            if data is None:
                data = await store.read(cid)
                if data is None:
                    raise Unavailable(
                        f"The block {cid} is missing here.",
                        hint="Fetch the whole file first: meshconsole blobs get",
                    )
                yield encode_section(cid, data)
            links = await store.threads.on_file(links_of, cid, data)
            stack.extend(link.cid for link in reversed(links))


async def import_car(store: Store, source: Source, make_root: Callable[[Cid, Root | None], Root]) -> Imported:
    """Takes in every block whose bytes match its CID; the roots of the file become roots here.

    If this raises, nothing of it is kept. Raises RemoteError (a bad file or block), Refused (quota),
    Unavailable (disk full), Fatal, and what `source` raises.
    """
    hold: set[bytes] = set()
    try:
        with store.room.holding(hold):
            reader = CarReader()
            blocks = skipped = 0
            async for piece in _pieces(store, source):
                for cid, data in reader.push(piece):
                    if not _is_storable(cid):
                        skipped += 1
                        continue
                    await _take(store, cid, data, hold)
                    blocks += 1
            roots = reader.finish()
            await store.commit()
            for root in roots:
                await store.roots.change(root, partial(make_root, root))
    except BaseException:
        await store.room.discard(hold)
        raise
    return Imported(tuple(map(str, roots)), blocks, skipped)


def _is_storable(cid: Cid) -> bool:
    return cid.codec in CODECS and cid.prefix.is_supported and inline(cid) is None


async def _take(store: Store, cid: Cid, data: bytes, hold: set[bytes]) -> None:
    links = await store.threads.on_file(links_of, cid, data)
    await store.write(len(data), lambda: _checked(cid, data), [link.cid for link in links], hold)
    if store.must_commit:
        await store.commit()


def _checked(cid: Cid, data: bytes) -> Block:
    try:
        return Block.checked(cid, data)
    except RemoteError as error:
        raise RemoteError("bad-car", f"The CAR file is damaged: {error.sentence}") from None


async def _pieces(store: Store, source: Source) -> AsyncIterator[bytes]:
    if isinstance(source, AsyncIterable):
        async for piece in source:
            yield piece
        return
    pieces = iter(source)
    while (piece := await store.threads.on_file(next, pieces, None)) is not None:
        yield piece
