"""The trustless gateway against its specification, section by section.

Sections are those of specs.ipfs.tech/http-gateways/trustless-gateway, or of .../path-gateway where the name
of a test begins with `path`.
"""

from __future__ import annotations

from http import HTTPStatus

import pytest

from meshconsole.content.formats.cid import DAG_PB, RAW, Cid
from meshconsole.content.formats.dagpb import Link, Node, encode_node
from meshconsole.content.formats.murmur import MURMUR3_X64_64, murmur3_x64_64
from meshconsole.content.formats.unixfs import Kind, UnixFs, encode_unixfs
from meshconsole.core.errors import MeshconsoleError
from meshconsole.edge.gateway import Gateway, Settings
from meshconsole.edge.messages import HttpError, Request
from tests.edge.dags import Dag, MemoryBlocks, car
from tests.edge.gateway_site import BLAKE3, CAR_TYPE, CHUNKS, RAW_TYPE, Site, whole

# Block responses


async def test_block_by_format(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.file}?format=raw")
    assert (answer.status, answer.body) == (200, site.dag.blocks[site.file])


async def test_block_by_accept_header(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.text}", accept=RAW_TYPE)
    assert (answer.status, answer.body) == (200, b"hello\n")
    assert answer.headers["Content-Type"] == RAW_TYPE
    assert answer.headers["Content-Location"] == f"/ipfs/{site.text}?format=raw"


async def test_block_headers(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.text}?format=raw")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{site.text}.bin"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "public, max-age=29030400, immutable"
    assert answer.headers["Etag"] == f'"{site.text}.raw"'
    assert "Content-Location" not in answer.headers


async def test_block_under_a_cid_of_another_codec_is_the_same_bytes(site: Site) -> None:
    other = Cid(1, RAW, site.file.hash_code, site.file.digest)
    assert (await site.ask(f"/ipfs/{other}?format=raw")).body == site.dag.blocks[site.file]


async def test_block_by_a_version_0_cid(site: Site) -> None:
    old = Cid.v0(site.dag.blocks[site.file])
    assert (await site.ask(f"/ipfs/{old}?format=raw")).status == 200


async def test_block_with_a_path_is_refused(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.top}/text?format=raw")
    assert answer.status == HTTPStatus.BAD_REQUEST


async def test_block_head_has_no_body_on_the_wire_but_its_length(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.text}?format=raw", "HEAD")
    assert (answer.status, len(answer.body)) == (200, 6)


@pytest.mark.parametrize(
    ("asked", "status", "body", "told"),
    [
        ("bytes=1-3", 206, b"ell", "bytes 1-3/6"),
        ("bytes=4-", 206, b"o\n", "bytes 4-5/6"),
        ("bytes=-2", 206, b"o\n", "bytes 4-5/6"),
        ("bytes=-99", 206, b"hello\n", "bytes 0-5/6"),
        ("bytes=2-999999999999", 206, b"llo\n", "bytes 2-5/6"),
        ("bytes=6-9", 416, None, "bytes */6"),
        ("bytes=-0", 416, None, "bytes */6"),
        ("bytes=3-1", 200, b"hello\n", None),
        ("bytes=0-1,3-4", 200, b"hello\n", None),
        ("lines=1-2", 200, b"hello\n", None),
    ],
)
async def test_path_range_of_a_block(
    site: Site, asked: str, status: int, body: bytes | None, told: str | None
) -> None:
    answer = await site.ask(f"/ipfs/{site.text}?format=raw", range=asked)
    assert answer.status == status
    assert body is None or answer.body == body
    assert answer.headers.get("Content-Range") == told


# Format, Accept


async def test_format_counts_more_than_accept(site: Site) -> None:
    assert (await site.ask(f"/ipfs/{site.text}?format=raw", accept=CAR_TYPE)).body == b"hello\n"
    assert (await site.ask(f"/ipfs/{site.text}?format=car", accept=RAW_TYPE)).cids == [site.text]


async def test_without_format_and_accept_it_is_a_bad_request(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.text}")
    assert answer.status == 400
    assert b"?format=raw" in answer.body


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/vnd.ipld.dag-json", f"{RAW_TYPE};q=0"])
async def test_what_would_have_to_be_opened_is_not_acceptable(site: Site, accept: str) -> None:
    assert (await site.ask(f"/ipfs/{site.text}", accept=accept)).status == 406


@pytest.mark.parametrize("named", ["tar", "json", "ipns-record", "\x1b[2J"])
async def test_other_formats_are_not_acceptable(site: Site, named: str) -> None:
    answer = await site.ask(f"/ipfs/{site.text}?format={named}")
    assert answer.status == 406
    assert b"\x1b" not in answer.body


async def test_the_accepted_type_with_the_highest_quality_is_taken(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.text}", accept=f"{CAR_TYPE};q=0.5, text/html, {RAW_TYPE};q=0.8")
    assert answer.headers["Content-Type"] == RAW_TYPE


# Caching


@pytest.mark.parametrize("form", ["raw", "car"])
async def test_path_if_none_match(site: Site, form: str) -> None:
    etag = (await site.ask(f"/ipfs/{site.text}?format={form}", "HEAD")).headers["Etag"]
    for told in (etag, f'"other", {etag}', f"W/{etag.removeprefix('W/')}", "*"):
        answer = await site.ask(f"/ipfs/{site.text}?format={form}", if_none_match=told)
        assert (answer.status, answer.body) == (304, b"")
    assert (await site.ask(f"/ipfs/{site.text}?format={form}", if_none_match='"other"')).status == 200


async def test_only_if_cached_of_what_is_not_here(site: Site) -> None:
    missing = Cid.of(RAW, b"not here")
    for method in ("GET", "HEAD"):
        answer = await site.ask(
            f"/ipfs/{missing}?format=raw", method, cache_control="no-transform, only-if-cached"
        )
        assert answer.status == 412
    here = await site.ask(f"/ipfs/{site.text}?format=raw", cache_control="only-if-cached")
    assert here.status == 200


# Probe path, statuses


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_probe_path(site: Site, method: str) -> None:
    raw = await site.ask("/ipfs/bafkqaaa?format=raw", method)
    assert (raw.status, raw.body) == (200, b"")
    told = await site.ask("/ipfs/bafkqaaa?format=car", method)
    assert told.status == 200
    if method == "GET":
        roots, cids = car(told.body)
        assert ([str(root) for root in roots], cids) == (["bafkqaaa"], [])


async def test_missing_root_is_not_found(site: Site) -> None:
    missing = Cid.of(RAW, b"not here")
    for form in ("raw", "car"):
        for method in ("GET", "HEAD"):
            assert (await site.ask(f"/ipfs/{missing}?format={form}", method)).status == 404


async def test_path_refused_cids_are_gone(site: Site) -> None:
    site.settings[0] = Settings(refused=frozenset({site.text.multihash}))
    for target in (f"{site.text}?format=raw", f"{site.text}?format=car", f"{site.top}/text?format=car"):
        assert (await site.ask(f"/ipfs/{target}")).status == 410


@pytest.mark.parametrize(
    "name",
    ["", "x", "bafy", "b" + "a" * 300, "zz", "QmX", "bafkreih", "%00", "%ff", "..", "%F0%9F%A4%A0", BLAKE3],
)
async def test_path_malformed_cids_are_a_bad_request(site: Site, name: str) -> None:
    assert (await site.ask(f"/ipfs/{name}?format=raw")).status == 400


@pytest.mark.parametrize(
    "path", ["..", "%2e%2e", "a%00b", "a%0ab", "a%1b%5b2J", "a%2fb", "%ff", "n" * 300, "a//b", "x/" * 257]
)
async def test_path_names_that_no_folder_holds_are_a_bad_request(site: Site, path: str) -> None:
    assert (await site.ask(f"/ipfs/{site.top}/{path}?format=car")).status == 400


async def test_path_other_methods_are_refused(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.text}?format=raw", "POST")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


async def test_path_service_workers_are_refused(site: Site) -> None:
    answer = await site.ask(f"/ipfs/{site.text}?format=raw", service_worker="script")
    assert answer.status == 400


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("a.bin", 'attachment; filename="a.bin"'),
        ("a%22b", "attachment; filename=\"a_b\"; filename*=UTF-8''a%22b"),
        ("%0d%0aX:1", "attachment; filename=\"__X:1\"; filename*=UTF-8''%0D%0AX%3A1"),
        ("t%C3%A4", "attachment; filename=\"t_\"; filename*=UTF-8''t%C3%A4"),
    ],
)
async def test_path_file_name(site: Site, given: str, told: str) -> None:
    answer = await site.ask(f"/ipfs/{site.text}?format=raw&filename={given}")
    assert answer.headers["Content-Disposition"] == told


# What is fetched for the one who asks


async def test_what_teammates_hold_is_fetched() -> None:
    dag = Dag()
    file = dag.file(*CHUNKS)
    blocks = MemoryBlocks.of(Dag(), afar=dag)
    gateway = Gateway(blocks, lambda: Settings(fetch_s=5), lambda: True)
    assert len(car(await whole(gateway, f"/ipfs/{file}?format=car"))[1]) == 6
    assert set(blocks.ended) == {str(file)}


async def test_what_does_not_come_in_time_is_a_gateway_timeout(site: Site) -> None:
    missing = Cid.of(RAW, b"not here")
    blocks = MemoryBlocks.of(Dag())
    gateway = Gateway(blocks, lambda: Settings(fetch_s=5), lambda: True)
    with pytest.raises(HttpError) as told:
        await gateway.handle(Request("GET", f"/ipfs/{missing}", "format=raw"))
    assert (told.value.status, dict(told.value.headers)["Retry-After"]) == (504, "10")
    assert blocks.ended == [str(missing)]


@pytest.mark.parametrize(
    ("fetch_s", "has_peers", "cached"), [(0, True, ""), (5, False, ""), (5, True, "only-if-cached")]
)
async def test_nobody_is_asked(fetch_s: float, has_peers: bool, cached: str) -> None:
    blocks = MemoryBlocks.of(Dag())
    gateway = Gateway(blocks, lambda: Settings(fetch_s=fetch_s), lambda: has_peers)
    with pytest.raises(HttpError) as told:
        await gateway.handle(
            Request("GET", f"/ipfs/{Cid.of(RAW, b'')}", "format=raw", {"cache-control": cached})
        )
    assert told.value.status == (412 if cached else 404)
    assert not blocks.wanted


# Trees that mean harm


async def test_a_chain_of_ten_thousand_blocks_is_walked_and_refused_as_a_file() -> None:
    dag = Dag()
    chain = leaf = dag.put(RAW, b"x")
    for _ in range(10_000):
        message = UnixFs(Kind.FILE, filesize=1, blocksizes=(1,))
        chain = dag.put(DAG_PB, encode_node(Node((Link(chain, "", 1),), encode_unixfs(message))))
    gateway = Gateway(MemoryBlocks.of(dag), Settings)
    assert car(await whole(gateway, f"/ipfs/{chain}?format=car"))[1][-1] == leaf
    with pytest.raises(MeshconsoleError, match="levels deep"):
        await whole(gateway, f"/ipfs/{chain}?format=car&dag-scope=entity")


async def test_a_tree_of_two_to_the_sixty_paths_comes_once_and_ends_where_it_may_repeat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("meshconsole.content.scope.MAX_BLOCKS", 500)
    dag = Dag()
    top = dag.put(RAW, b"x")
    for _ in range(60):
        top = dag.folder({"a": top, "b": top})
    gateway = Gateway(MemoryBlocks.of(dag), Settings)
    assert len(car(await whole(gateway, f"/ipfs/{top}?format=car"))[1]) == 61
    with pytest.raises(MeshconsoleError, match="more than 500 blocks"):
        await whole(gateway, f"/ipfs/{top}?format=car&car-dups=y")


async def test_shards_nested_deeper_than_hashes_lead_nowhere() -> None:
    dag = Dag()
    name = "x"
    bits = f"{murmur3_x64_64(name.encode()):016X}"
    top = dag.put(RAW, b"end")
    for level in reversed(range(12)):
        place = bits[2 * level : 2 * level + 2] if level < 8 else "00"
        message = UnixFs(Kind.HAMT_SHARD, b"\1", hash_type=MURMUR3_X64_64, fanout=256)
        top = dag.put(DAG_PB, encode_node(Node((Link(top, place, 1),), encode_unixfs(message))))
    gateway = Gateway(MemoryBlocks.of(dag), Settings)
    with pytest.raises(MeshconsoleError, match="deeper than names have hashes"):
        await whole(gateway, f"/ipfs/{top}/{name}?format=car")
