"""How many signed events a second the relay takes from clients: checked, stored durably, acknowledged."""

from __future__ import annotations

import asyncio
import json
import os
import time

from websockets.asyncio.client import connect

from bench.figures import Figure, percentiles, ratio
from bench.nodes import OPEN, one_node
from meshconsole.core.event import encode_event
from meshconsole.crypto.schnorr import sign_event, verify_event

EVENTS = 8000
CONNECTIONS = 4
WINDOW = 64
"""Events that each connection has under way; the next is sent when one is acknowledged."""
AUTHORS = 20


def measure() -> list[Figure]:
    signed = _events()
    verified = _verifications_per_second(signed[:1000])
    with one_node(*OPEN) as node:
        rate, waits = asyncio.run(_closed_loop(node.address, signed))
    return [
        Figure("ingest, closed loop", rate, "events/s", f"{CONNECTIONS} clients, {WINDOW} under way each"),
        *percentiles("event to acknowledgement", waits),
        Figure("Schnorr verifications, one thread", verified, "/s"),
        ratio("ingest, to bare verification", rate, verified, "verification alone is 1"),
    ]


def _events() -> list[bytes]:
    secrets = [os.urandom(32) for _ in range(AUTHORS)]
    now = int(time.time())
    return [
        encode_event(
            sign_event(secrets[n % AUTHORS], 1, (("t", "bench"),), f"event {n} " + "x" * 120, now - n % 600)
        )
        for n in range(EVENTS)
    ]


def _verifications_per_second(signed: list[bytes]) -> float:
    from meshconsole.core.event import decode_event

    events = [decode_event(raw) for raw in signed]
    began = time.perf_counter()
    assert all(map(verify_event, events))
    return len(events) / (time.perf_counter() - began)


async def _closed_loop(address: str, signed: list[bytes]) -> tuple[float, list[float]]:
    waits: list[float] = []
    began = time.perf_counter()
    async with asyncio.TaskGroup() as clients:
        for number in range(CONNECTIONS):
            clients.create_task(_client(address, signed[number::CONNECTIONS], waits))
    return len(signed) / (time.perf_counter() - began), waits


async def _client(address: str, signed: list[bytes], waits: list[float]) -> None:
    sent: dict[str, float] = {}
    left = iter(signed)

    async def send_next() -> bool:
        raw = next(left, None)
        if raw is None:
            return False
        text = raw.decode()
        sent[text[7:71]] = time.perf_counter()
        await connection.send(f'["EVENT",{text}]')
        return True

    async with connect(f"ws://{address}", compression=None, max_queue=None) as connection:
        for _ in range(WINDOW):
            await send_next()
        while sent:
            message = json.loads(await connection.recv())
            if message[0] != "OK":
                continue
            if not message[2]:
                raise SystemExit(f"The relay refused an event: {message[3]}")
            waits.append(time.perf_counter() - sent.pop(message[1]))
            await send_next()
