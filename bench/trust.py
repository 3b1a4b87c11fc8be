"""What security costs: signatures, key wraps, removal, unlocking, TLS, and encryption at rest.

Removal is in CPU time of this process, the rest in wall time. The two kinds of store are the same code
on the same library, once with a key and once without, in turns.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from unittest import mock

from sqlcipher3 import dbapi2 as sqlcipher

from bench.figures import Figure, percentiles, ratio
from meshconsole.crypto.hybrid import verify_control
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.keystore import Keystore
from meshconsole.crypto.providers import choose_provider
from meshconsole.crypto.schnorr import sign_event
from meshconsole.crypto.suites import SUITES
from meshconsole.crypto.tls import LinkCredentials, TlsSession
from meshconsole.relay.filter import Filter
from meshconsole.relay.sqlite import SqliteEventStore
from meshconsole.team.state import Team

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.event import Event
    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.suites import Suite

DEVICES = 50
ROUNDS = 40
HANDSHAKES = 30
EVENTS = 6000
BATCH = 100
TURNS = 3
NOW = 1_800_000_000
CONTEXT = b"mc/bench/v1"


def measure() -> list[Figure]:
    provider = choose_provider("auto")
    figures = [figure for suite in SUITES for figure in _suite(suite, provider)]
    return [*figures, *_unlocking(), *_at_rest()]


def _suite(suite: Suite, provider: Provider) -> list[Figure]:
    me = Identity.generate(suite, provider)
    event = me.sign_control(1, (), "bench", NOW, CONTEXT)
    signing = _times(lambda: me.sign_control(1, (), "bench", NOW, CONTEXT))
    verifying = _times(lambda: verify_control(event, suite, me.mldsa_public, CONTEXT, provider))
    wrapping = _times(
        lambda: [provider.hpke_seal(suite, me.kem_public, b"info", bytes(32)) for _ in range(DEVICES)], 10
    )
    with_name = f"{suite.name}, {provider.name}"
    return [
        Figure(f"{suite.name}: hybrid signature", median(signing) * 1000, "ms", with_name),
        Figure(f"{suite.name}: hybrid verification", median(verifying) * 1000, "ms", with_name),
        Figure(f"{suite.name}: an epoch key wrapped for {DEVICES}", median(wrapping) * 1000, "ms", with_name),
        _removal(suite, provider),
        *percentiles(f"{suite.name}: TLS handshake over loopback", _handshakes(suite, provider)),
    ]


def _times(act: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        taken.append(time.perf_counter() - began)
    return taken


def _removal(suite: Suite, provider: Provider) -> Figure:
    """One entry that removes a device and begins an epoch, and the grants for those who stay."""
    admin = Identity.generate(suite, provider)
    team, _ = Team.found(admin, "bench", "admin", NOW, provider)
    members = [Identity.generate(suite, provider) for _ in range(DEVICES + 4)]
    for number, member in enumerate(members):
        team.admit(member.bundle_event(NOW), f"device {number}", "member", NOW)
    taken = []
    for member in members[:5]:
        began = time.process_time()
        team.remove(member.npub, NOW)
        taken.append(time.process_time() - began)
    note = f"CPU, from a team of {DEVICES}; the promise is under 50 ms"
    return Figure(f"{suite.name}: removal and rotation", median(taken) * 1000, "ms", note)


def _handshakes(suite: Suite, provider: Provider) -> list[float]:
    """Both ends in this process, over TCP: until both have checked the other."""
    one, other = (LinkCredentials.make(Identity.generate(suite, provider)) for _ in range(2))
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:

        def serve() -> None:
            for _ in range(HANDSHAKES):
                accepted = stack.enter_context(listener.accept()[0])
                _shake_hands(TlsSession(other, server=True, accept=lambda _: True), accepted)

        server = threading.Thread(target=serve)
        server.start()
        taken = []
        for _ in range(HANDSHAKES):
            with socket.create_connection(listener.getsockname()) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                began = time.perf_counter()
                _shake_hands(TlsSession(one, server=False, accept=lambda _: True), connection)
                taken.append(time.perf_counter() - began)
        server.join()
    return taken


def _shake_hands(session: TlsSession, connection: socket.socket) -> None:
    session.start()
    while True:
        if out := session.outbox():
            connection.sendall(out)
        if session.established:
            return
        session.receive(connection.recv(65536))


def _unlocking() -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder:
        path = Path(folder) / "keystore"
        Keystore.create(path, "correct horse")
        taken = _times(lambda: Keystore.unlock(path, "correct horse"), 3)
    return [Figure("unlocking a home", min(taken), "s", "calibrated for this machine to 0.5-1 s")]


# --- encryption at rest ---------------------------------------------------------------------------


def _at_rest() -> list[Figure]:
    events = _events()
    inserted: dict[bool, list[float]] = {True: [], False: []}
    read: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * TURNS):
        sealed = turn % 2 == 0
        insert, query = _one_store(events, sealed=sealed)
        inserted[sealed].append(insert)
        read[sealed].append(query)
    best = {kind: (max(inserted[kind]), max(read[kind])) for kind in (True, False)}
    return [
        Figure("insert, encrypted", best[True][0], "events/s", f"{BATCH} in a commit"),
        Figure("insert, plain SQLite", best[False][0], "events/s"),
        ratio("insert, encrypted to plain", best[True][0], best[False][0], "the promise is 0.65"),
        Figure("read by id, encrypted", best[True][1], "events/s"),
        Figure("read by id, plain SQLite", best[False][1], "events/s"),
        ratio("read, encrypted to plain", best[True][1], best[False][1], "plain is 1"),
    ]


def _events() -> list[Event]:
    secrets = [os.urandom(32) for _ in range(20)]
    return [
        sign_event(secrets[n % 20], 1, (("t", f"topic{n % 50}"),), f"event {n} " + "x" * 200, NOW + n)
        for n in range(EVENTS)
    ]


def _one_store(events: list[Event], *, sealed: bool) -> tuple[float, float]:
    with tempfile.TemporaryDirectory(prefix="meshconsole-bench-") as folder, ExitStack() as stack:
        path = Path(folder) / "node.db"
        if not sealed:
            stack.enter_context(mock.patch("meshconsole.relay.sqlite.open_database", _open_plain))
        store = SqliteEventStore(path, bytes(range(32)), bytes(32))
        stack.callback(store.close)
        began = time.perf_counter()
        for at in range(0, len(events), BATCH):
            store.add(events[at : at + BATCH])
        insert = len(events) / (time.perf_counter() - began)
        if sealed == path.read_bytes().startswith(b"SQLite format 3"):
            raise SystemExit("The bench compares the wrong stores.")
        chosen = events[:: len(events) // 500]
        began = time.perf_counter()
        for event in chosen:
            store.query([Filter(ids=frozenset({event.id}))], 1)
        return insert, len(chosen) / (time.perf_counter() - began)


def _open_plain(path: Path, _key: bytes, *, readonly: bool = False, create: bool = True) -> Any:  # noqa: ANN401
    """As `open_database` opens, but without a key: the same library then writes plain pages."""
    del create, readonly
    conn = sqlcipher.connect(str(path), isolation_level=None, check_same_thread=False)
    for pragma in ("temp_store = MEMORY", "cache_size = -2048", "journal_mode = WAL", "synchronous = FULL"):
        conn.execute(f"PRAGMA {pragma}")
    return conn
