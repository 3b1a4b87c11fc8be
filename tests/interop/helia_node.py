"""Helia, the IPFS node in JavaScript, as a process that is told what to do line by line."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.interop.clients import HERE, Outsider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NODE_22 = HERE / "node_modules/node/bin/node"
"""Helia needs Node.js 22, which comes as a package beside it."""

needs_helia = [
    pytest.mark.interop,
    pytest.mark.skipif(
        not (NODE_22.is_file() and (HERE / "node_modules/helia").is_dir()),
        reason="Helia is not installed; get it with: npm ci --prefix tests/interop/js",
    ),
]


@asynccontextmanager
async def helia(*arguments: str, script: str = "helia_node.mjs") -> AsyncIterator[Outsider]:
    """`arguments`: the type of its key."""
    process = await asyncio.create_subprocess_exec(
        NODE_22,
        HERE / script,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    try:
        yield Outsider(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
