"""Where the HTTP edge may listen, and who is asked for a token."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, MagicMock

import msgspec
import pytest

from meshconsole.core.config import Config
from meshconsole.core.errors import Fatal, MeshconsoleError, Unavailable
from meshconsole.core.event import encode_event
from meshconsole.core.sections import EdgeSection
from meshconsole.core.verdict import ACCEPTED
from meshconsole.edge.messages import HttpError, Request, as_http
from meshconsole.edge.tables import Tables
from meshconsole.edge.tokens import PROXIES_SAY
from meshconsole.node.edge_room import EdgeRoom
from meshconsole.relay.policy import House
from tests.content.conftest import KEY
from tests.relay.making import Public, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:7480", "[::]:7480", ":7480", "192.0.2.7:7480", "example.org:7480"]
)
def test_other_machines_reach_it_only_where_the_owner_says_so_twice(listen: str) -> None:
    config = msgspec.structs.replace(Config(), edge=EdgeSection(listen=listen))
    node: Any = SimpleNamespace(config=config)
    nothing: Any = None
    with pytest.raises(Fatal):
        EdgeRoom(node, nothing, nothing, nothing, bytes(32))


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    opened = Tables(tmp_path / "node.db", KEY)
    yield opened
    opened.close()


def _room(tables: Tables, **section: Any) -> EdgeRoom:  # noqa: ANN401 - the keys of [edge]
    node = MagicMock()
    node.config = msgspec.structs.replace(Config(), edge=EdgeSection(listen="127.0.0.1:0", **section))
    content: Any = MagicMock(
        has_block=AsyncMock(return_value=False), is_of_keys=AsyncMock(return_value=False)
    )
    return EdgeRoom(node, MagicMock(), content, tables, bytes(32))


async def _status(room: EdgeRoom, path: str, headers: dict[str, str]) -> int:
    try:
        where, _, query = path.partition("?")
        return (await room.edge.handle(Request("GET", where, query, headers))).status
    except HttpError as error:
        return error.status
    except MeshconsoleError as error:
        return as_http(error).status


PROVIDERS = "/routing/v1/providers/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


async def test_a_report_is_judged_as_its_authors(tables: Tables) -> None:
    """Not as an event of this node, which no rule for clients would hold for."""
    room = _room(tables)
    report = signed(kind=1984)

    async def body() -> AsyncIterator[bytes]:
        yield encode_event(report)

    relay: Any = room._node.relay
    relay.house = House(Public())
    relay.publish_for = AsyncMock(return_value=ACCEPTED)
    assert (await room.edge.handle(Request("PUT", "/report", body=body()))).status == 200
    relay.publish_for.assert_awaited_once_with(report, (report.pubkey,), via="edge")


async def test_what_a_proxy_on_this_machine_passes_on_needs_a_token(tables: Tables) -> None:
    room = _room(tables)
    assert await _status(room, PROVIDERS, {}) == 404
    for name in PROXIES_SAY:
        assert await _status(room, PROVIDERS, {name: "192.0.2.7"}) == 401
    shown = {"authorization": f"Bearer {room.tokens.make('ridge', 0.0)}", "via": "1.1 proxy"}
    assert await _status(room, PROVIDERS, shown) == 404
    assert await _status(room, PROVIDERS, {**shown, "authorization": "Bearer mc_no"}) == 401


@pytest.mark.parametrize("section", [{"tokens": "always"}, {"beyond_this_machine": True}])
async def test_everybody_is_asked_where_the_owner_says_so(tables: Tables, section: dict[str, Any]) -> None:
    room = _room(tables, **section)
    blob = f"/{'ab' * 32}"
    for path in (PROVIDERS, "/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy", "/", blob):
        assert await _status(room, path, {}) == 401, path


async def test_peers_by_libp2p_are_asked_where_there_is_no_link(tables: Tables) -> None:
    room = _room(tables)
    cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    node: Any = room._node
    libp2p: Any = room._libp2p
    node.mesh.status.return_value = []
    content: Any = room._content
    content.fetch.side_effect = Unavailable("nothing came")
    content.end_passing = AsyncMock()
    for connections, told in ((0, 404), (1, 504)):
        libp2p.connections = connections
        assert await _status(room, f"/ipfs/{cid}?format=raw", {}) == told
