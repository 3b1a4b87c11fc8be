"""CAR files from the trustless gateway, section by section as in test_gateway.py."""

from __future__ import annotations

import pytest

from meshconsole.content.formats.cid import DAG_PB, IDENTITY, RAW, Cid
from meshconsole.content.formats.dagpb import Link, Node, decode_node, encode_node
from meshconsole.content.formats.unixfs import Kind, UnixFs, decode_unixfs, encode_unixfs
from meshconsole.edge.gateway import Gateway, Settings
from meshconsole.edge.messages import HttpError
from tests.edge.dags import Dag, MemoryBlocks, car
from tests.edge.gateway_site import CAR_TYPE, CHUNKS, LONG, MANY, Site, whole

# CAR responses


async def test_car_of_a_file(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.file}?format=car")
    assert car(answer.body) == ((site.file,), [site.file, *site.leaves])
    assert answer.headers["Content-Type"] == f"{CAR_TYPE}; version=1; order=dfs; dups=n"
    assert answer.headers["Content-Disposition"].endswith('.car"')


async def test_car_by_path_holds_what_leads_there(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.top}/inner/text", accept=CAR_TYPE)
    assert answer.cids == [site.top, site.inner, site.text]
    assert answer.headers["X-Ipfs-Roots"] == f"{site.top},{site.inner},{site.text}"


async def test_car_by_path_through_shards(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.top}/many/{LONG}17?format=car")
    cids = answer.cids
    assert cids[:2] == [site.top, site.sharded]
    assert cids[-1] == site.text
    assert all(cid.codec == DAG_PB for cid in cids[:-1])
    assert 3 <= len(cids) <= 5


async def test_car_by_path_through_dag_cbor(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.cbor}/files/first?format=car")
    assert answer.cids == [site.cbor, site.file, *site.leaves]


@pytest.mark.parametrize(
    "path", ["none", "inner/none", "text/below", f"many/{LONG}{MANY}", "many/none", "file/none"]
)
async def test_car_of_a_path_that_leads_nowhere_is_not_found(site: Site, path: str) -> None:
    assert (await site.ask(f"/ipfs/{site.top}/{path}?format=car")).status == 404


@pytest.mark.parametrize("path", ["files", "files/none", "files/first/none", "0"])
async def test_car_of_a_path_without_a_link_is_not_found(site: Site, path: str) -> None:
    assert (await site.ask(f"/ipfs/{site.cbor}/{path}?format=car")).status == 404


async def test_car_roots_name_the_root(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.top}/text?format=car")
    assert car(answer.body)[0] == (site.top,)


async def test_car_of_a_missing_part_is_cut_off() -> None:
    dag = Dag()
    file = dag.file(*CHUNKS)
    blocks = MemoryBlocks.of(dag.without(Cid.of(RAW, CHUNKS[2])))
    with pytest.raises(HttpError):
        await whole(Gateway(blocks, Settings), f"/ipfs/{file}?format=car")
    assert not blocks.held


# dag-scope


async def test_scope_block(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.top}/file?format=car&dag-scope=block")
    assert answer.cids == [site.top, site.file]


async def test_scope_entity_of_a_file_is_all_of_it(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.file}?format=car&dag-scope=entity")
    assert answer.cids == [site.file, *site.leaves]


async def test_scope_entity_of_a_folder_is_its_listing(site: Site) -> None:
    assert (await site.ask(f"/ipfs/{site.top}?format=car&dag-scope=entity")).cids == [site.top]


async def test_scope_entity_of_a_sharded_folder_is_its_shards(site: Site) -> None:
    cids = (await site.ask(f"/ipfs/{site.sharded}?format=car&dag-scope=entity")).cids
    shards = [cid for cid, data in site.dag.blocks.items() if cid.codec == DAG_PB and is_shard(data)]
    assert cids[0] == site.sharded
    assert sorted(map(str, cids)) == sorted(map(str, shards))


async def test_scope_entity_of_dag_cbor_is_its_block(site: Site) -> None:
    assert (await site.ask(f"/ipfs/{site.cbor}?format=car&dag-scope=entity")).cids == [site.cbor]


async def test_scope_all_of_a_folder(site: Site) -> None:
    cids = (await site.ask(f"/ipfs/{site.top}?format=car&dag-scope=all")).cids
    assert sorted(map(str, cids)) == sorted(str(cid) for cid in site.dag.blocks if cid != site.cbor)


async def test_scope_is_in_the_etag(site: Site) -> None:
    tags = {
        (await site.ask(f"/ipfs/{site.file}?format=car&{more}", "HEAD")).headers["Etag"]
        for more in ("", "dag-scope=block", "dag-scope=entity", "entity-bytes=0:5", "car-dups=y")
    }
    assert len(tags) == 5


async def test_scope_unknown_is_a_bad_request(site: Site) -> None:
    assert (await site.ask(f"/ipfs/{site.file}?format=car&dag-scope=some")).status == 400


# entity-bytes


@pytest.mark.parametrize(
    ("asked", "leaves"),
    [
        ("0:*", [0, 1, 2, 3, 4]),
        ("0:0", [0]),
        ("0:99", [0]),
        ("0:100", [0, 1]),
        ("150:350", [1, 2, 3]),
        ("400:*", [4]),
        ("-1:*", [4]),
        ("-101:*", [3, 4]),
        ("-9999:*", [0, 1, 2, 3, 4]),
        ("-9999:-401", [0]),
        ("120:-250", [1, 2]),
        ("499:9999", [4]),
        ("300:-400", []),
        ("-9999:-9000", []),
    ],
)
async def test_entity_bytes_are_the_blocks_that_hold_them(site: Site, asked: str, leaves: list[int]) -> None:
    answer = await site.ask(f"/ipfs/{site.file}?format=car&entity-bytes={asked}")
    assert answer.cids == [site.file, *(site.leaves[number] for number in leaves)]


async def test_entity_bytes_of_a_folder_are_its_listing(site: Site) -> None:
    assert (await site.ask(f"/ipfs/{site.top}?format=car&entity-bytes=0:1")).cids == [site.top]


@pytest.mark.parametrize("asked", ["500:*", "9999:99999", "3:1", "-1:-3", "x:y", "0", ":", "0:5:6", "1e3:*"])
async def test_entity_bytes_outside_or_malformed_are_a_bad_request(site: Site, asked: str) -> None:
    assert (await site.ask(f"/ipfs/{site.file}?format=car&entity-bytes={asked}")).status == 400


# CAR order, dups, version


async def test_dups_are_left_out(site: Site) -> None:
    two = await site.ask(f"/ipfs/{site.top}?format=car&car-dups=n&car-order=dfs")
    assert len(two.cids) == len(set(two.cids))


async def test_dups_come_each_time() -> None:
    dag = Dag()
    file = dag.file(*CHUNKS[:2])
    top = dag.folder({"a": file, "b": file})
    accept = f"{CAR_TYPE}; version=1; order=dfs; dups=y"
    body = await whole(Gateway(MemoryBlocks.of(dag), Settings), f"/ipfs/{top}", accept=accept)
    cids = car(body)[1]
    assert cids == [top, *[file, Cid.of(RAW, CHUNKS[0]), Cid.of(RAW, CHUNKS[1])] * 2]


async def test_car_parameters_of_the_url_count_more(site: Site) -> None:
    answer = await site.ask(
        f"/ipfs/{site.top}?format=car&car-dups=y", "HEAD", accept=f"{CAR_TYPE};dups=n;order=unk"
    )
    assert answer.headers["Content-Type"] == f"{CAR_TYPE}; version=1; order=dfs; dups=y"


@pytest.mark.parametrize(
    ("asked", "status"), [("car-version=2", 406), ("car-order=bfs", 406), ("car-dups=maybe", 400)]
)
async def test_car_in_a_form_that_is_not_written(site: Site, asked: str, status: int) -> None:
    assert (await site.ask(f"/ipfs/{site.top}?format=car&{asked}")).status == status


async def test_identity_blocks_are_never_in_a_car() -> None:
    inside = Cid(1, RAW, IDENTITY, b"small")
    message = UnixFs(Kind.FILE, filesize=10, blocksizes=(5, 5))
    leaf = Cid.of(RAW, b"other")
    dag = Dag({leaf: b"other"})
    links = (Link(inside, "", 5), Link(leaf, "", 5))
    file = dag.put(DAG_PB, encode_node(Node(links, encode_unixfs(message))))
    gateway = Gateway(MemoryBlocks.of(dag), Settings)
    for dups in "yn":
        body = await whole(gateway, f"/ipfs/{file}?format=car&car-dups={dups}")
        assert car(body)[1] == [file, leaf]


def is_shard(data: bytes) -> bool:
    return decode_unixfs(decode_node(data).data or b"").kind == Kind.HAMT_SHARD
