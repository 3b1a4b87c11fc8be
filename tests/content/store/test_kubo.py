"""Blocks in a Kubo node: what it may do to us, and what we may do to it. The laws are in test_blocks."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.content.service import Content
from meshconsole.content.store.kubo import KuboBlocks, _pins
from meshconsole.content.store.kubo_rpc import SPARED_S, Address, CommandFailed, KuboRpc
from meshconsole.core.errors import Fatal, Refused, Unavailable
from tests.content.conftest import FakeClock, FakeQuota

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BLOCK = Block.of(RAW, b"a block")
HUNG = b""
"""Instead of an answer: none, while the connection stays open."""


def answer(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def failed(message: str) -> bytes:
    return answer(json.dumps({"Message": message, "Code": 0}).encode(), "500 Internal Server Error")


NOT_PINNED = failed("path 'x' is not pinned")
VERSION = answer(b'{"Version":"0.43.0"}')


class Server:
    """Gives the answers one after the other, whatever is asked, and keeps the questions."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self._answers = list(answers)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.connections = 0
        self.questions: list[bytes] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self._listening.getsockname()[1])

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            if not self._answers:
                connection.close()
                return
            self.connections += 1
            self._open.append(connection)
            while self._answers and self._hear(connection):
                reply = self._answers.pop(0)
                connection.sendall(reply)
                if b"Connection: close" in reply or b"X-Then: hang-up" in reply:
                    connection.close()
                    break

    def _hear(self, connection: socket.socket) -> bool:
        heard = b""
        while b"\r\n\r\n" not in heard:
            piece = connection.recv(65536)
            if not piece:
                return False
            heard += piece
        head, _, body = heard.partition(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        while len(body) < length:
            body += connection.recv(65536)
        self.questions.append(head + b"\r\n\r\n" + body)
        return True

    def close(self) -> None:
        self._answers.clear()
        for connection in self._open:
            connection.close()
        with socket.create_connection(self._listening.getsockname()):
            self._thread.join()
        self._listening.close()


@contextmanager
def rpc_to(*answers: bytes, secret: str = "", timeout_s: float = 10.0) -> Iterator[tuple[KuboRpc, Server]]:
    server = Server(answers)
    rpc = KuboRpc(server.address, secret, timeout_s=timeout_s)
    try:
        yield rpc, server
    finally:
        rpc.close()
        server.close()


@contextmanager
def blocks_in(*answers: bytes) -> Iterator[KuboBlocks]:
    with rpc_to(*answers) as (rpc, _):
        yield KuboBlocks(rpc, "ours")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001"),
        ("https://kubo.example/", "https://kubo.example:443"),
        ("http://[::1]:5001", "http://[::1]:5001"),
        ("/ip4/127.0.0.1/tcp/5001", "http://127.0.0.1:5001"),
        ("/ip6/::1/tcp/5001/http", "http://[::1]:5001"),
        ("/dns4/kubo.example/tcp/443/tls/http", "https://kubo.example:443"),
        ("/dns/kubo.example/tcp/443/https", "https://kubo.example:443"),
        ("/unix/run/kubo.sock", "unix:/run/kubo.sock"),
    ],
)
def test_addresses(text: str, shown: str) -> None:
    assert str(Address.parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://x",
        "http://",
        "http://u:p@x",
        "http://x:y",
        "http://x/api",
        "/ip4/x/udp/1",
        "/ip4/x/tcp/y",
        "/unix",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Refused) as error:
        Address.parse(text)
    assert error.value.hint


def test_a_command_is_a_post_and_a_connection_is_kept() -> None:
    with rpc_to(answer(b"one"), answer(b"two"), secret="bearer:hush") as (rpc, server):
        assert rpc.call("block/get", arg="cid") == b"one"
        assert rpc.call("block/put", b"data", pin="false") == b"two"
        assert server.connections == 1
        first, second = server.questions
    assert first.startswith(b"POST /api/v0/block/get?arg=cid HTTP/1.1\r\n")
    assert b"Authorization: Bearer hush\r\n" in first
    assert b"multipart/form-data; boundary=" in second
    assert b"\r\n\r\ndata\r\n--" in second


@pytest.mark.parametrize(
    ("secret", "header"),
    [("basic:ann:hush:hush", b"Basic YW5uOmh1c2g6aHVzaA=="), ("bearer:x", b"Bearer x"), ("x", b"Bearer x")],
)
def test_secrets_are_written_as_kubo_writes_them(secret: str, header: bytes) -> None:
    with rpc_to(answer(b""), secret=secret) as (rpc, server):
        rpc.call("id")
        assert b"Authorization: " + header + b"\r\n" in server.questions[0]


def test_a_kept_connection_that_was_closed_is_made_anew() -> None:
    closing = answer(b"one", more="X-Then: hang-up\r\n")
    with rpc_to(closing, answer(b"two"), answer(b"three")) as (rpc, server):
        assert rpc.call("id") == b"one"
        assert rpc.call("id") == b"two"
        assert rpc.call("id") == b"three"
        assert server.connections == 2


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address("127.0.0.1", listening.getsockname()[1])
    rpc = KuboRpc(address)
    with pytest.raises(Unavailable, match="cannot be reached") as error:
        rpc.call("id")
    assert str(address) in error.value.sentence
    assert "ipfs daemon" in error.value.hint


def test_no_answer_ends_in_time_and_spares_the_others() -> None:
    now = [0.0]
    server = Server([HUNG, answer(b"late")])
    rpc = KuboRpc(server.address, timeout_s=0.05, now=lambda: now[0])
    with pytest.raises(Unavailable, match="no answer in time"):
        rpc.call("id")
    asked = len(server.questions)
    with pytest.raises(Unavailable, match="no answer in time"):
        rpc.call("id")
    assert len(server.questions) == asked
    now[0] += SPARED_S
    rpc._timeout_s = 10.0
    assert rpc.call("id") == b"late"
    rpc.close()
    server.close()


def test_an_answer_that_drips_ends_in_time() -> None:
    now = [0.0]

    def later() -> float:
        now[0] += 1.0
        return now[0]

    with rpc_to(answer(b"x" * 100)) as (_, server):
        rpc = KuboRpc(server.address, timeout_s=2.5, now=later)
        with pytest.raises(Unavailable, match="no answer in time"):
            rpc.call("id")
        rpc.close()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer(b"Forbidden", "403 Forbidden"), "does not allow"),
        (answer(b"", "401 Unauthorized"), "does not allow"),
        (answer(b"404 page not found", "404 Not Found"), "no RPC interface"),
        (answer(b"<html>", "302 Found"), "no RPC interface"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nshort", "broke off"),
        (answer(bytes(5 << 20)), "larger answer"),
    ],
)
def test_answers_that_are_none(reply: bytes, words: str) -> None:
    with rpc_to(reply) as (rpc, _), pytest.raises(Unavailable, match=words) as error:
        rpc.call("id")
    assert error.value.hint


def test_a_command_that_fails_says_why() -> None:
    with rpc_to(failed("it is broken"), answer(b"")) as (rpc, server):
        with pytest.raises(CommandFailed, match="it is broken"):
            rpc.call("id")
        rpc.call("id")
        assert server.connections == 1


def pins(**names: str) -> bytes:
    return json.dumps(
        {"Keys": {cid: {"Type": "direct", "Name": name} for cid, name in names.items()}}
    ).encode()


A, B, C = (str(Cid.of(RAW, text)) for text in (b"a", b"b", b"c"))
LIST = pins(**{A: "meshconsole:ours:1", B: "", C: "meshconsole:ours:x"})


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 16])
def test_a_list_of_pins_comes_in_pieces_of_any_size(size: int) -> None:
    pieces = [LIST[start : start + size] for start in range(0, len(LIST), size)]
    assert [(cid, held.owner, held.size) for cid, held in _pins(pieces)] == [
        (A, "ours", 1),
        (B, "", 0),
        (C, "", 0),
    ]
    assert list(_pins([b'{"Keys":{}}'])) == list(_pins([b"{}\n"])) == []


def test_a_list_cut_at_any_byte_is_no_list() -> None:
    for end in range(len(LIST)):
        with pytest.raises(Unavailable, match="broke off"):
            list(_pins([LIST[:end]]))


@pytest.mark.parametrize("text", [b"[]", b"null", b"<html></html>", b'{"Keys":[]}', b'{"Keyz":{}}'])
def test_what_is_no_list(text: bytes) -> None:
    with pytest.raises(Unavailable, match="broke off"):
        list(_pins([text]))


def test_only_our_pins_are_our_blocks() -> None:
    with blocks_in(answer(LIST)) as store:
        assert list(store.listing()) == [(Cid.parse(A).multihash, 1)]


def test_a_kubo_that_serves_another_meshconsole_is_left_alone() -> None:
    with blocks_in(answer(pins(**{A: "meshconsole:theirs:1"}))) as store, pytest.raises(Fatal) as error:
        list(store.listing())
    assert "another meshconsole" in error.value.sentence
    assert "meshconsole:theirs" in error.value.hint


@pytest.mark.parametrize("version", ["0.27.0", "0.9.1-rc1", "", "x"])
def test_an_old_kubo_is_named(version: str) -> None:
    with blocks_in(answer(json.dumps({"Version": version}).encode())) as store, pytest.raises(Fatal):
        store.open()


@pytest.mark.parametrize(
    ("replies", "words"),
    [
        ([NOT_PINNED, failed("write: no space left on device")], "disk of the Kubo node is full"),
        ([NOT_PINNED, failed("lock is held")], "could not do block/put: lock is held"),
        ([NOT_PINNED, answer(b'{"Key":"bafkother","Size":7}')], "as bafkother"),
        ([NOT_PINNED, answer(json.dumps({"Key": str(BLOCK.cid)}).encode()), failed("gone")], "pin/add: gone"),
        ([answer(pins(**{str(BLOCK.cid): "mine"}))], "for somebody else"),
    ],
)
def test_a_block_that_was_not_kept_is_not_acknowledged(replies: list[bytes], words: str) -> None:
    with blocks_in(*replies) as store, pytest.raises(Unavailable, match=words) as error:
        store.put(BLOCK)
    assert error.value.hint


def test_a_full_kubo_says_so_until_it_takes_a_block_again() -> None:
    stat = answer(b'{"RepoSize":1,"StorageMax":100}')
    stored = answer(json.dumps({"Key": str(BLOCK.cid)}).encode())
    with blocks_in(
        *(NOT_PINNED, failed("no space left on device"), stat, failed("none")),
        *(NOT_PINNED, stored, answer(b""), stat, failed("none")),
    ) as store:
        with pytest.raises(Unavailable):
            store.put(BLOCK)
        assert store.look().warnings == ("The disk of the Kubo node is full: it takes no new blocks",)
        assert store.put(BLOCK)
        assert store.look().warnings == ()


def test_how_it_stands() -> None:
    spec = {"Key": "Datastore.Spec", "Value": {"mounts": [{"sync": False}]}}
    stat = answer(b'{"RepoSize":97,"StorageMax":100}')
    with blocks_in(stat, answer(json.dumps(spec).encode()), stat, failed("none"), HUNG) as store:
        state = store.look()
        assert state.place.startswith("Kubo at http://127.0.0.1:")
        assert not state.trouble
        assert "StorageMax" in state.warnings[0]
        assert "power cut" in state.warnings[1]
        assert len(store.look().warnings) == 1


@pytest.mark.parametrize(
    "body",
    [b"<html>Sign in</html>", b"", b"[]", b"null", b"7", b"{}", b'{"Version":0}', b"[" * 100_000, b"\xff"],
)
def test_another_program_at_that_address_is_named(body: bytes) -> None:
    with blocks_in(answer(body)) as store, pytest.raises(Unavailable, match="no Kubo node") as error:
        store.open()
    assert "content.kubo_api" in error.value.hint


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b"null",
        b'{"RepoSize":"1"}',
        b'{"RepoSize":true}',
        b'{"StorageMax":-1}',
        b'{"RepoSize":1' + b"0" * 400 + b"}",
    ],
)
def test_how_another_program_stands_is_trouble_and_no_more(body: bytes) -> None:
    with blocks_in(answer(body)) as store:
        assert "no Kubo node" in store.look().trouble


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"null", b"7"])
def test_a_setting_in_another_form_is_none(body: bytes) -> None:
    with blocks_in(answer(b"{}"), answer(body)) as store:
        assert store.look().warnings == ()


@pytest.mark.parametrize(
    "keys", [b"[" * 100_000, b'{"Keys":{"no cid":{"Name":"meshconsole:ours:1"}}}', b"null"]
)
def test_a_list_of_pins_that_is_none_is_no_list(keys: bytes) -> None:
    with blocks_in(answer(keys)) as store, pytest.raises(Unavailable):
        list(store.listing())


async def test_a_node_starts_though_another_program_is_at_that_address(tmp_path: Path) -> None:
    with rpc_to(*(answer(b"<html>", more="Content-Type: text/html\r\n") for _ in range(50))) as (rpc, _):
        content = Content(
            tmp_path,
            bytes(32),
            quota=FakeQuota(),
            emit=lambda _: None,
            clock=FakeClock(),
            blocks=KuboBlocks(rpc, "ours"),
        )
        await content.start()
        try:
            with pytest.raises(Unavailable):
                await content.add([b"x"], "file")
            assert "no Kubo node" in content.blocks_state().trouble
        finally:
            await content.stop()
