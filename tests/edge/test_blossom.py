"""Blossom: what Nostr clients upload, get, list and delete, and what is refused with which reason."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.store.roots import Pin
from meshconsole.core.event import encode_event
from meshconsole.core.sections import LimitsSection
from meshconsole.core.verdict import ACCEPTED
from meshconsole.edge.blossom import Blossom, Rights
from meshconsole.edge.book import Blob
from meshconsole.edge.server import EdgeServer
from tests.content.conftest import World
from tests.edge.blossom_site import BlossomSite, blossom_site, digest
from tests.relay.making import Members, Public, npub, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

SMALL = b"a picture of a bridge"
LARGE = random.Random(1).randbytes(2_560_000)
"""Three blocks and the one above."""
GET = "/" + digest(SMALL)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[BlossomSite]:
    async with blossom_site(World(tmp_path / "blobs")) as made:
        yield made


async def test_a_blob_goes_in_and_comes_out(site: BlossomSite) -> None:
    answer = await site.upload(SMALL, content_type="image/png", x_sha_256=digest(SMALL))
    assert answer.status == 201
    told = answer.data
    assert told["sha256"] == digest(SMALL)
    assert told["url"] == f"http://files.example/{digest(SMALL)}.png"
    assert (told["size"], told["type"], told["uploaded"]) == (21, "image/png", 1_800_000_000)
    assert ["x", digest(SMALL)] in told["nip94"]
    assert (await site.upload(SMALL, content_type="text/plain")).status == 200
    auth = site.allow("get")
    got = await site.ask("GET", f"{GET}.png", auth=auth)
    assert (got.status, got.body, got.headers["Content-Type"]) == (200, SMALL, "image/png")
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    head = await site.ask("HEAD", GET, auth=auth)
    assert head.status == 200
    again = await site.ask("GET", GET, auth=auth, if_none_match=got.headers["Etag"])
    assert (again.status, again.body) == (304, b"")


async def test_a_small_blob_is_the_block_of_its_hash_and_a_large_one_a_file(site: BlossomSite) -> None:
    small = (await site.upload(SMALL)).data["ipfs"]
    large = (await site.upload(LARGE)).data["ipfs"]
    (file,) = [root for root in site.content.roots() if root.cid == large]
    assert file.pins == (Pin(f"blossom/{npub('alice')}"),)
    assert site.content.usage().blocks == 1 + 4
    assert b"".join([piece async for piece in site.content.read(small)]) == SMALL


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=1048575-1048576", 1_048_575, 1_048_576),
        ("bytes=1000-", 1000, None),
        ("bytes=-5", 2_559_995, None),
    ],
)
async def test_ranges_of_a_large_blob(site: BlossomSite, asked: str, first: int, last: int | None) -> None:
    await site.upload(LARGE)
    answer = await site.ask("GET", f"/{digest(LARGE)}", auth=site.allow("get"), range=asked)
    end = len(LARGE) if last is None else last + 1
    assert answer.status == 206
    assert answer.body == LARGE[first:end]
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(LARGE)}"
    outside = await site.ask("GET", f"/{digest(LARGE)}", auth=site.allow("get"), range="bytes=9999999-")
    assert outside.status == 416


async def test_only_members_read_and_write_and_strangers_learn_nothing(site: BlossomSite) -> None:
    await site.upload(SMALL)
    assert (await site.upload(b"x", who="mallory")).status == 403
    for target in (GET, "/" + digest(b"nothing")):
        assert (await site.ask("GET", target)).status == 401
        assert (await site.ask("GET", target, auth=site.allow("get", who="mallory"))).status == 403
    assert (await site.ask("GET", "/" + digest(b"nothing"), auth=site.allow("get"))).status == 404
    assert (await site.ask("PUT", "/upload", [SMALL])).status == 401


async def test_a_public_relay_is_a_public_server(tmp_path: Path) -> None:
    async with blossom_site(World(tmp_path / "blobs"), Public()) as site:
        await site.upload(SMALL, who="anybody")
        assert (await site.ask("GET", GET)).body == SMALL
        assert len((await site.ask("GET", f"/list/{npub('anybody')}")).data) == 1
        # whoever uploads says who he is all the same: it is pinned for somebody
        assert (await site.ask("PUT", "/upload", [SMALL])).status == 401


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"verb": "get"}, 't tag is not "upload"'),
        ({"expires": "-1"}, "it has expired"),
        ({"expires": None}, "no expiration"),
        ({"expires": "soon"}, "no expiration"),
        ({"created": 61}, "in the future by this node's clock"),
        ({"kind": 27235}, "kind 24242"),
        ({"more": (("server", "other.example"),)}, "other servers"),
        ({"hashes": ()}, "no x tag"),
    ],
)
async def test_every_check_of_a_token(site: BlossomSite, change: dict[str, object], why: str) -> None:
    told: dict[str, object] = {"verb": "upload", "hashes": (digest(SMALL),), **change}
    verb, hashes = told.pop("verb"), told.pop("hashes")
    assert isinstance(verb, str)
    assert isinstance(hashes, tuple)
    answer = await site.ask("PUT", "/upload", [SMALL], site.allow(verb, *hashes, **told))  # type: ignore[arg-type]
    assert (answer.status, why in answer.body.decode()) == (401, True), answer.body
    assert site.content.usage().blocks == 0


@pytest.mark.parametrize(
    "header", ["Nostr", "Nostr !!!", "Nostr e30", "Bearer x", "Nostr " + "A" * 20_000, "Nostr \xff"]
)
async def test_what_is_no_token(site: BlossomSite, header: str) -> None:
    assert (await site.ask("PUT", "/upload", [SMALL], header)).status == 401


async def test_a_forged_signature_counts_for_nothing(site: BlossomSite) -> None:
    import base64

    event = signed("alice", 24242, (("t", "get"), ("expiration", "9999999999")))
    forged = encode_event(event).replace(event.sig[:8].encode(), b"00000000")
    header = "Nostr " + base64.b64encode(forged).decode()
    assert (await site.ask("GET", GET, auth=header)).status == 401


async def test_a_token_for_this_server_by_name_or_by_url(site: BlossomSite) -> None:
    await site.upload(SMALL)
    for server in ("files.example", "https://files.example/"):
        auth = site.allow("get", digest(SMALL), more=(("server", "x.example"), ("server", server)))
        assert (await site.ask("GET", GET, auth=auth)).status == 200
    other = site.allow("get", digest(LARGE))
    assert (await site.ask("GET", GET, auth=other)).status == 401


async def test_a_body_that_is_not_what_was_allowed_leaves_nothing(site: BlossomSite) -> None:
    auth = site.allow("upload", digest(SMALL))
    answer = await site.ask("PUT", "/upload", [LARGE], auth)
    assert (answer.status, site.content.usage().blocks) == (409, 0)
    answer = await site.ask("PUT", "/upload", [SMALL], auth, x_sha_256=digest(b"other"))
    assert answer.status == 401
    both = site.allow("upload", digest(SMALL), digest(b"other"))
    answer = await site.ask("PUT", "/upload", [SMALL], both, x_sha_256=digest(b"other"))
    assert (answer.status, site.content.usage().blocks) == (409, 0)
    assert site.content.roots() == ()


@pytest.mark.parametrize("room", [0, 5000, 1_100_000, 2_562_000])
async def test_a_full_storage_refuses_with_the_reason_and_keeps_nothing(site: BlossomSite, room: int) -> None:
    site.world.quota.limit = room
    answer = await site.upload(LARGE)
    assert (answer.status, b"the test's storage is full" in answer.body) == (507, True)
    assert site.content.usage().bytes == site.world.quota.used == 0
    assert await asyncio.to_thread(site.book.counts) == (0, 0)
    site.rights[0] = Rights(0, room)
    answer = await site.ask("PUT", "/upload", [LARGE], site.allow("upload", digest(LARGE)))
    assert answer.status == 507


async def test_what_a_key_may_upload(site: BlossomSite) -> None:
    site.rights[0] = Rights(1_000_000, 1 << 40)
    assert (await site.upload(SMALL)).status == 201
    answer = await site.upload(LARGE)
    assert (answer.status, b"edge.key_mb" in answer.body) == (413, True)
    announced = await site.ask(
        "PUT", "/upload", [], site.allow("upload", digest(LARGE)), content_length=str(len(LARGE))
    )
    assert announced.status == 413
    assert (await site.upload(SMALL, who="bob")).status == 200
    assert site.content.usage().blocks == 1


async def test_asking_before_an_upload(site: BlossomSite) -> None:
    auth = site.allow("upload", digest(LARGE))

    async def status(auth: str, length: str = str(len(LARGE)), sha256: str = digest(LARGE)) -> int:
        answer = await site.ask("HEAD", "/upload", (), auth, x_sha_256=sha256, x_content_length=length)
        return answer.status

    assert await status(auth) == 200
    assert await status("") == 401
    assert await status(auth, "") == 411
    assert await status(auth, "-1") == 400
    assert await status(auth, "1", "x") == 400
    site.rights[0] = Rights(0, 1000)
    assert await status(auth) == 507


async def test_deleting_is_for_owners_and_admins_and_the_last_one_frees_it(site: BlossomSite) -> None:
    await site.upload(LARGE)
    await site.upload(LARGE, who="bob")
    target = f"/{digest(LARGE)}"
    assert (await site.ask("DELETE", target, auth=site.allow("delete"))).status == 401
    assert (await site.ask("DELETE", target, auth=site.allow("delete", digest(LARGE)))).status == 204
    assert site.content.usage().blocks == 4
    assert (await site.ask("DELETE", target, auth=site.allow("delete", digest(LARGE)))).status == 403
    assert (
        await site.ask("DELETE", target, auth=site.allow("delete", digest(LARGE), who="bob"))
    ).status == 204
    assert site.content.usage().blocks == 0
    assert (await site.ask("GET", target, auth=site.allow("get"))).status == 404
    assert (await site.ask("DELETE", target, auth=site.allow("delete", digest(LARGE)))).status == 404


async def test_an_admin_deletes_what_anybody_uploaded(tmp_path: Path) -> None:
    access = Members({npub("alice"), npub("root")})
    async with blossom_site(World(tmp_path / "blobs"), access) as site:
        await site.upload(SMALL)
        auth = site.allow("delete", digest(SMALL), who="root")
        assert (await site.ask("DELETE", GET, auth=auth)).status == 204
        assert site.content.usage().blocks == 0


async def test_what_the_owner_pinned_too_outlives_a_delete(site: BlossomSite) -> None:
    cid = (await site.upload(SMALL)).data["ipfs"]
    await site.content.pin(cid)
    assert (await site.ask("DELETE", GET, auth=site.allow("delete", digest(SMALL)))).status == 204
    assert site.content.usage().blocks == 1


async def test_listing_page_by_page(site: BlossomSite) -> None:
    blobs = [bytes([number]) * 10 for number in range(5)]
    for blob in blobs:
        site.world.clock.now += 1
        await site.upload(blob)
    await site.upload(b"of bob", who="bob")
    target, auth = f"/list/{npub('alice')}", site.allow("list")
    newest = [digest(blob) for blob in reversed(blobs)]
    listed = (await site.ask("GET", target, auth=auth)).data
    assert [blob["sha256"] for blob in listed] == newest
    seen: list[str] = []
    cursor = ""
    while page := (await site.ask("GET", f"{target}?limit=2&cursor={cursor}", auth=auth)).data:
        seen += [blob["sha256"] for blob in page]
        cursor = seen[-1]
    assert seen == newest
    since = (await site.ask("GET", f"{target}?since=1800000004&until=1800000004", auth=auth)).data
    assert [blob["sha256"] for blob in since] == [newest[1]]
    assert (await site.ask("GET", f"{target}?limit=x", auth=auth)).status == 400
    assert (await site.ask("GET", target)).status == 401
    assert (await site.ask("GET", target, auth=site.allow("list", who="bob"))).status == 403
    assert (await site.ask("GET", "/list/nobody", auth=auth)).status == 400


async def test_what_the_owner_gives_nobody_is_not_given_out_by_its_hash_either(site: BlossomSite) -> None:
    uploaded = await site.upload(SMALL)
    site.refused.add(uploaded.data["ipfs"])
    path, auth = f"/{digest(SMALL)}", site.allow("get", digest(SMALL))
    assert (await site.ask("GET", path, auth=auth)).status == 410
    assert (await site.ask("HEAD", path, auth=auth)).status == 410
    assert (await site.ask("GET", path)).status == 401, "strangers do not even learn that"
    site.refused.clear()
    assert (await site.ask("GET", path, auth=auth)).status == 200


async def test_a_report_reaches_the_relay(site: BlossomSite) -> None:
    report = signed("alice", 1984, (("x", digest(SMALL), "malware"),))
    assert (await site.ask("PUT", "/report", [encode_event(report)])).status == 200
    assert [event.id for event in site.reports] == [report.id]
    stranger = signed("mallory", 1984, (("x", digest(SMALL), "spam"),))
    assert (await site.ask("PUT", "/report", [encode_event(stranger)])).status == 403
    protected = signed("alice", 1984, (("-",), ("x", digest(SMALL), "malware")))
    assert (await site.ask("PUT", "/report", [encode_event(protected)])).status == 403
    assert [event.id for event in site.reports] == [report.id]
    assert (await site.ask("PUT", "/report", [encode_event(signed())])).status == 400
    assert (await site.ask("PUT", "/report", [b"{}"])).status == 400
    assert (await site.ask("PUT", "/report", [b"a" * 70_000])).status == 413


async def test_what_is_not_served_is_said(site: BlossomSite) -> None:
    assert (await site.ask("PUT", "/mirror", [b'{"url":"http://10.0.0.1/"}'])).status == 501
    assert (await site.ask("PUT", "/media")).status == 501
    assert (await site.ask("POST", "/upload")).status == 405
    for path in ("/", "/upload/x", "/" + "A" * 64, "/" + "a" * 63, f"{GET}/x", f"{GET}.x/y", "/lists"):
        assert not Blossom.is_path(path)


async def test_two_who_upload_the_same_at_once_both_keep_it(site: BlossomSite) -> None:
    answers = await asyncio.gather(site.upload(LARGE), site.upload(LARGE, who="bob"))
    assert sorted(answer.status for answer in answers) == [200, 201]
    (root,) = site.content.roots()
    assert {pin.owner for pin in root.pins} == {f"blossom/{npub(name)}" for name in ("alice", "bob")}


async def test_pins_that_no_upload_stands_behind_are_lifted(site: BlossomSite) -> None:
    kept = (await site.upload(SMALL)).data["ipfs"]
    left = await site.content.add([b"the node was killed here"], "", owner=f"blossom/{npub('alice')}")
    await site.blossom.tidy()
    assert site.content.is_pinned(kept)
    assert not site.content.is_pinned(left.cid)


async def test_a_blob_that_the_disk_altered_is_not_given_out(site: BlossomSite) -> None:
    await site.upload(LARGE)
    block = LARGE[: 1 << 20]
    site.world.file_with(block).write_bytes(b"?" + block[1:])
    auth, target = site.allow("get"), f"/{digest(LARGE)}"
    async for _ in site.content.scrub(pause_s=0):
        pass
    answer = await site.ask("GET", target, auth=auth)
    assert (answer.status, b"damaged" in answer.body) == (404, True)
    assert (await site.upload(LARGE)).status == 200
    assert (await site.ask("GET", target, auth=auth)).body == LARGE


async def test_an_upload_that_is_cut_off_leaves_nothing(site: BlossomSite) -> None:
    server = EdgeServer(
        site.blossom.handle, host="127.0.0.1", port=0, limits=LimitsSection, admit=lambda remote: ACCEPTED
    )
    await server.start()
    host, _, port = server.address.partition(":")
    head = (
        f"PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(LARGE)}\r\n"
        f"Authorization: {site.allow('upload', digest(LARGE))}\r\n\r\n"
    )
    try:
        for end in (0, 1, 1 << 20, (1 << 20) + 1, len(LARGE) - 1):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(head.encode() + LARGE[:end])
            writer.write_eof()
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
            writer.close()
            assert site.content.usage().bytes == site.world.quota.used == 0
    finally:
        await server.stop()
    assert site.content.roots() == ()


async def test_uploads_at_once_together_stay_below_what_a_key_may_have(site: BlossomSite) -> None:
    site.rights[0] = Rights(1_000_000, 1 << 40)
    announced = [str(900_000), ""]  # some clients say the length before, others send chunks
    for number, length in enumerate(announced):
        told = {"content_length": length} if length else {}
        bodies = [bytes([number, which]) * 450_000 for which in range(4)]
        answers = await asyncio.gather(*(site.upload(body, **told) for body in bodies))
        assert sorted(answer.status for answer in answers)[-3:] == [413] * 3
        assert site.book.bytes_of(npub("alice")) <= 900_000
    assert (await site.upload(b"a" * 100_000)).status == 201


async def test_what_came_meanwhile_counts_when_an_upload_is_written_down(site: BlossomSite) -> None:
    site.rights[0] = Rights(1000, 1 << 40)
    held = site.book.put_blob

    def slower(*given: object) -> bool:
        held(Blob("ab" * 32, "bafkother", 990, "a/b"), npub("alice"))
        return held(*given)  # type: ignore[arg-type]

    site.book.put_blob = slower  # type: ignore[method-assign, assignment]
    assert (await site.upload(SMALL)).status == 413
    assert site.content.roots() == ()
