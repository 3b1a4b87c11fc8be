"""Where the HTTP edge may listen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from meshconsole.core.config import Config
from meshconsole.core.errors import Fatal
from meshconsole.core.sections import EdgeSection
from meshconsole.node.edge_room import EdgeRoom


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:7480", "[::]:7480", ":7480", "192.0.2.7:7480", "example.org:7480"]
)
def test_other_machines_reach_it_only_where_the_owner_says_so_twice(listen: str) -> None:
    config = msgspec.structs.replace(Config(), edge=EdgeSection(listen=listen))
    node: Any = SimpleNamespace(config=config)
    nothing: Any = None
    with pytest.raises(Fatal):
        EdgeRoom(node, nothing, nothing, bytes(32))
