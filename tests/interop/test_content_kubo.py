"""Files, folders and CAR files against Kubo itself, both ways: equal CIDs, equal bytes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.cid import DAG_CBOR, DAG_PB, Cid
from meshconsole.content.formats.dagpb import Link, Node, decode_node, encode_node
from meshconsole.content.layout import PROFILES, UNIXFS_V0_2015, UNIXFS_V1_2025, Profile, build
from meshconsole.content.walk import links_of
from tests.content.conftest import World, read_whole
from tests.content.deterministic import deterministic_bytes
from tests.content.test_directory import vector
from tests.interop.kubo_node import Kubo, needs_kubo

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_kubo

MIB = 1 << 20
SIZES = {
    UNIXFS_V1_2025.name: (0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 7),
    UNIXFS_V0_2015.name: (0, 1, 262143, 262144, 262145, 174 * 262144, 174 * 262144 + 1),
}
NAMES = {UNIXFS_V1_2025.name: 1030, UNIXFS_V0_2015.name: 3}
"""Of 250 letters: 1030 are more than one block holds, so that the directory is sharded."""


@pytest.fixture(params=[UNIXFS_V1_2025, UNIXFS_V0_2015], ids=lambda profile: profile.name)
def profile(request: pytest.FixtureRequest) -> Profile:
    return PROFILES[request.param.name]


@pytest.fixture
def kubo(tmp_path: Path, profile: Profile) -> Kubo:
    return Kubo(tmp_path / "kubo", profile.name)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "blobs")


def root_of(data: bytes, profile: Profile) -> str:
    *_, last = build([data], profile)
    return str(last.cid)


def added(kubo: Kubo, *arguments: str | Path) -> dict[str, str]:
    """CIDs by the names that `ipfs add` tells."""
    lines = kubo.say("add", "--progress=false", *arguments).splitlines()
    return {name: cid for _, cid, name in (line.split(" ", 2) for line in lines)}


def named(kubo: Kubo, *arguments: str | Path) -> dict[str, str]:
    """As `added`, without writing anything."""
    return added(kubo, "--only-hash", *arguments)


def test_files_of_every_size_have_one_cid(kubo: Kubo, profile: Profile, tmp_path: Path) -> None:
    expected = {}
    for size in SIZES[profile.name]:
        data = deterministic_bytes(size)
        file = tmp_path / str(size)
        file.write_bytes(data)
        expected[str(size)] = root_of(data, profile)
    assert named(kubo, *(tmp_path / name for name in expected)) == expected


def test_deep_trees_have_one_cid(kubo: Kubo, profile: Profile, tmp_path: Path) -> None:
    """The same rules with small chunks and few links: up to five levels."""
    small = Profile("small", 64, 3, profile.raw_leaves, profile.cid_version)
    expected = {}
    for chunks in (1, 2, 3, 4, 9, 10, 27, 28, 100):
        data = deterministic_bytes(64 * chunks + 1)
        (tmp_path / str(chunks)).write_bytes(data)
        expected[str(chunks)] = root_of(data, small)
    assert (
        named(kubo, "--chunker=size-64", "--max-file-links=3", *(tmp_path / name for name in expected))
        == expected
    )


@pytest.mark.parametrize("last", [0, 1], ids=["in one block", "sharded"])
def test_the_published_directories_are_kubo_s_too(
    kubo: Kubo, profile: Profile, tmp_path: Path, last: int
) -> None:
    """IPIP-499: one name more, or one letter, is what shards a directory."""
    if profile is UNIXFS_V1_2025:
        entries = vector(profile, "hamt-unixfs-v1-2025", 4766, 11, 21 + last)
        expected = (
            "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4",
            "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu",
        )[last]
    else:
        count, length = (4096, 30) if not last else (4033, 31)
        entries = vector(profile, "hamt-unixfs-v0-2015", count, length, length)
        expected = (
            "QmX5GtRk3TSSEHtdrykgqm4eqMEn3n2XhfkFAis5fjyZmN",
            "QmeMiJzmhpJAUgynAcxTQYek5PPKgdv3qEvFsdV3XpVnvP",
        )[last]
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "x").write_bytes(b"x")
    for entry in entries:
        (folder / entry.name).hardlink_to(tmp_path / "x")
    assert named(kubo, "-r", folder)["folder"] == expected


async def test_what_we_add_kubo_gets(kubo: Kubo, profile: Profile, world: World, tmp_path: Path) -> None:
    """A folder, sharded for its long names, and a file of several blocks, carried as CAR files."""
    files = {f"{number:0250}": b"%d" % (number % 9) for number in range(NAMES[profile.name])}
    data = deterministic_bytes(2 * MIB + 5)
    async with world.content() as content:
        folder = await content.add_folder(
            ((name, [each]) for name, each in files.items()), "folder", profile=profile
        )
        file = await content.add([data], "file", profile=profile)
        with (tmp_path / "ours.car").open("wb") as car:
            async for piece in content.export_car(folder.cid, file.cid):
                car.write(piece)
    said = kubo.say("dag", "import", "--stats", tmp_path / "ours.car")
    assert folder.cid in said
    assert file.cid in said
    assert kubo.run("cat", file.cid) == data
    kubo.run("get", "-o", tmp_path / "got", folder.cid)
    assert {each.name: each.read_bytes() for each in (tmp_path / "got").iterdir()} == files
    kubo.run("repo", "verify")


async def test_what_kubo_adds_we_read(kubo: Kubo, profile: Profile, world: World, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    files = {f"{number:0250}": b"%d" % (number % 9) for number in range(NAMES[profile.name])}
    for name, each in files.items():
        (folder / name).write_bytes(each)
    data = deterministic_bytes(2 * MIB + 5)
    (tmp_path / "file").write_bytes(data)
    theirs = added(kubo, "-r", folder)["folder"]
    file = added(kubo, tmp_path / "file")["file"]
    async with world.content() as content:
        for cid in (theirs, file):
            taken = await content.import_car([kubo.run("dag", "export", "--progress=false", cid)])
            assert taken.roots == (cid,)
            assert content.presence(cid).complete
        assert await read_whole(content, file) == data
        listed = await content.list_folder(theirs)
        assert {name: await read_whole(content, listed[name]) for name in list(listed)[:20]} == {
            name: files[name] for name in list(listed)[:20]
        }
        assert listed.keys() == files.keys()
        exported = b"".join([piece async for piece in content.export_car(file)])
    assert exported == kubo.run("dag", "export", "--progress=false", file)


DOCUMENTS: tuple[object, ...] = (
    None,
    True,
    -1,
    2**53,
    1.5,
    "",
    "grüße",
    {"/": {"bytes": "aGVsbG8"}},
    [],
    {"b": 1, "aa": [1, [2, {}]], "c": None},
    [{"/": "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"}],
    {"below": {"/": "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"}},
)


def links_in(document: object) -> list[str]:
    match document:
        case {"/": str(cid)}:
            return [cid]
        case dict():
            return [cid for value in document.values() for cid in links_in(value)]
        case list():
            return [cid for value in document for cid in links_in(value)]
        case _:
            return []


@pytest.mark.parametrize("profile", [UNIXFS_V1_2025], indirect=True)
def test_links_of_dag_cbor_and_dag_pb_are_those_that_kubo_sees(kubo: Kubo) -> None:
    for document in DOCUMENTS:
        text = json.dumps(document, ensure_ascii=False).encode()
        cid = kubo.say("dag", "put", "--input-codec=dag-json", "--store-codec=dag-cbor", data=text)
        block = kubo.run("block", "get", cid)
        assert str(Cid.of(DAG_CBOR, block)) == cid
        seen = json.loads(kubo.run("dag", "get", "--output-codec=dag-json", cid))
        assert [str(link.cid) for link in links_of(Cid.parse(cid), block)] == links_in(seen)
    leaf = Cid.of(DAG_PB, b"")
    for node in (Node(), Node(data=b"data"), Node((Link(leaf, "a", 3), Link(leaf, "b", 0)), b"")):
        encoded = encode_node(node)
        cid = kubo.say("dag", "put", "--input-codec=dag-pb", "--store-codec=dag-pb", data=encoded)
        assert str(Cid.of(DAG_PB, encoded)) == cid
        assert decode_node(kubo.run("block", "get", cid)) == node
