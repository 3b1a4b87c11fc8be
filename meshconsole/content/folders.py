"""Adding a folder: many files and the directory over them, as one root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.content.adding import Added, Addition
from meshconsole.content.directory import Entry, build_directory
from meshconsole.content.listing import DirectoryReader
from meshconsole.content.reader import inline
from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from meshconsole.content.adding import Source
    from meshconsole.content.formats.cid import Cid
    from meshconsole.content.layout import Profile
    from meshconsole.content.store.roots import Root
    from meshconsole.content.store.store import Store


async def add_folder(
    store: Store,
    files: Iterable[tuple[str, Source]],
    profile: Profile,
    make_root: Callable[[Cid, Root | None], Root],
) -> Added:
    """`files` are name and content. If this raises, nothing of it is kept."""
    hold: set[bytes] = set()
    size = blocks = 0
    entries: list[Entry] = []
    try:
        with store.room.holding(hold):
            for name, source in files:
                addition = Addition(store, profile, hold)
                cid = await addition.run(source)
                entries.append(Entry(name, cid, addition.stored_bytes))
                size += addition.size
                blocks += addition.blocks
            directory = await store.threads.on_file(build_directory, entries, profile)
            for branch in directory.branches:
                await store.write_block(branch.block, branch.children, hold)
            await store.commit()
            await store.roots.change(directory.cid, lambda old: make_root(directory.cid, old))
    except BaseException:
        await store.room.discard(hold)
        raise
    return Added(str(directory.cid), size, blocks + len(directory.branches))


async def read_folder(store: Store, root: Cid, max_entries: int) -> list[Entry]:
    """Raises RemoteError (not a directory, malformed), CorruptData, Unavailable if a block is missing."""
    reader = DirectoryReader(root, max_entries)
    entries: list[Entry] = []
    with store.room.holding({root.multihash}):
        while (wanted := reader.wanted) is not None:
            block = inline(wanted)
            if block is None:
                block = await store.read(wanted)
            if block is None:
                raise Unavailable(
                    f"The folder {root} is not whole here.",
                    hint=f"Fetch the rest from teammates: meshconsole blobs get {root}",
                )
            entries += await store.threads.on_file(reader.feed, block)
    return entries
