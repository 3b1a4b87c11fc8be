from __future__ import annotations

import asyncio

import msgspec
import pytest

from meshconsole.core.errors import Fatal
from meshconsole.core.status import EdgePart, EdgeStatus
from meshconsole.node.metrics import MetricsServer, render
from tests.cli.falcon import STATUS


def figures(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return dict(line.rsplit(" ", 1) for line in lines)


def test_what_is_told() -> None:
    told = figures(render(STATUS))
    assert told["meshconsole_relay_events_in_total"] == "1310"
    assert told["meshconsole_uptime_seconds"] == "7500"
    assert told['meshconsole_relay_kind_events_total{kind="1"}'] == "1200"
    assert told['meshconsole_relay_kind_events_total{kind="other"}'] == "10"
    assert told['meshconsole_refused_total{reason="rate-limited"}'] == "4"


def test_every_figure_has_a_type_and_nobody_is_named() -> None:
    text = render(STATUS)
    typed = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {name.partition("{")[0] for name in figures(text)} == typed
    assert not [word for word in ("192.0.2", STATUS.npub, "alpha", "b2b2") if word in text]


def test_the_http_edge_is_told_of_where_it_is_on() -> None:
    assert "meshconsole_edge" not in render(STATUS)
    edge = EdgeStatus("127.0.0.1:7480", 2, (EdgePart("gateway", True, 12), EdgePart("pinning", False)))
    text = render(msgspec.structs.replace(STATUS, edge=edge))
    assert figures(text)["meshconsole_edge_connections"] == "2"
    assert figures(text)['meshconsole_edge_requests_total{part="gateway"}'] == "12"
    assert "127.0.0.1" not in text


def test_reasons_cannot_break_out_of_their_label() -> None:
    limits = msgspec.structs.replace(STATUS.limits, refusals={'a"} 1\nx{b="\\\x1b': 2})
    text = render(msgspec.structs.replace(STATUS, limits=limits))
    assert text.splitlines()[-1] == r'meshconsole_refused_total{reason="a\"} 1?x{b=\"\\?"} 2'


def test_steps_and_health_are_told_by_name_also_those_that_do_not_hold() -> None:
    limits = msgspec.structs.replace(STATUS.limits, steps=("copies-wait",))
    told = figures(render(msgspec.structs.replace(STATUS, limits=limits)))
    steps = [told[f'meshconsole_degraded{{step="{name}"}}'] for name in ("copies-wait", "writes-refused")]
    health = [told[f'meshconsole_health{{code="{code}"}}'] for code in ("clock", "no-links")]
    assert steps == health == ["1", "0"]


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_over_http() -> None:
    server = MetricsServer("127.0.0.1:0", lambda: STATUS)
    await server.start()
    try:
        answer = await ask(server.port, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body.decode() == render(STATUS)
        assert (await ask(server.port, b"GET /else HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert (await ask(server.port, b"POST /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 404 ")
        assert await ask(server.port, b"x" * 20_000) in (b"",)
    finally:
        await server.stop()


@pytest.mark.parametrize("listen", ["0.0.0.0:9107", "[::]:9107", "192.0.2.1:9107", "nowhere"])
async def test_nothing_but_loopback(listen: str) -> None:
    with pytest.raises(Fatal):
        await MetricsServer(listen, lambda: STATUS).start()
