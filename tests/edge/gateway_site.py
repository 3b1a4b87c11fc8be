"""A trustless gateway over a few files, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.core.errors import MeshconsoleError
from meshconsole.edge.gateway import Gateway, Settings
from meshconsole.edge.messages import HttpError, Request, as_http
from tests.edge.dags import Dag, MemoryBlocks, car

RAW_TYPE, CAR_TYPE = "application/vnd.ipld.raw", "application/vnd.ipld.car"
CHUNKS = [bytes([letter]) * 100 for letter in b"abcde"]
BLAKE3 = "bafkr4ifpuroz3fgwn4cm4xiyh5nipkk3tcs7dwj5bdxx5m7jjx2qzxzjoq"
"""A hash that is not supported here."""
MANY = 1000
LONG = "n" * 240


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def cids(self) -> list[Cid]:
        return car(self.body)[1]


@dataclass
class Site:
    """A gateway over a few files: `text` is one block, `file` has five, `top` is a folder with both, a copy
    of the file, a sharded folder and one in it; `cbor` leads to the file by maps."""

    gateway: Gateway
    dag: Dag
    text: Cid
    file: Cid
    inner: Cid
    sharded: Cid
    top: Cid
    cbor: Cid
    leaves: list[Cid]
    settings: list[Settings]

    async def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        path, _, query = target.partition("?")
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            reply = await self.gateway.handle(Request(method, path, query, told))
        except HttpError as error:
            return Answer(error.status, dict(error.headers), error.sentence.encode())
        except MeshconsoleError as error:
            return Answer(as_http(error).status, {}, error.sentence.encode())
        body = reply.body
        if body is not None and not isinstance(body, bytes):
            body = b"".join([piece async for piece in body])
        return Answer(reply.status, dict(reply.headers), body or b"")


def make_site() -> Site:
    dag = Dag()
    text = dag.put(RAW, b"hello\n")
    file = dag.file(*CHUNKS)
    inner = dag.folder({"text": text})
    sharded = dag.folder({f"{LONG}{number}": text for number in range(MANY)})
    top = dag.folder({"copy": file, "file": file, "inner": inner, "many": sharded, "text": text})
    cbor = dag.cbor(["files", "first"], file)
    settings = [Settings()]
    gateway = Gateway(MemoryBlocks.of(dag), lambda: settings[0])
    leaves = [Cid.of(RAW, chunk) for chunk in CHUNKS]
    return Site(gateway, dag, text, file, inner, sharded, top, cbor, leaves, settings)


async def whole(gateway: Gateway, target: str, **headers: str) -> bytes:
    """What is sent; raises what cuts it off."""
    path, _, query = target.partition("?")
    reply = await gateway.handle(Request("GET", path, query, headers))
    assert reply.status == 200
    assert reply.body is not None
    assert not isinstance(reply.body, bytes)
    return b"".join([piece async for piece in reply.body])
