"""Making a home: keystore, database, configuration and, if asked for, a new team.

A home appears whole or not at all: it is built in a folder beside its place and then renamed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.content.service import Content
from meshconsole.core.errors import Fatal
from meshconsole.core.home import Home
from meshconsole.core.store_url import is_postgres
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.keystore import Keystore
from meshconsole.crypto.private_file import write_private
from meshconsole.crypto.self_test import sound_provider
from meshconsole.crypto.suites import suite_by_id
from meshconsole.node.config_file import render_config
from meshconsole.node.membership import remember_team
from meshconsole.node.state import NodeState
from meshconsole.node.watermark import Watermark, write_watermark
from meshconsole.relay.memory import caches_within
from meshconsole.relay.sqlite import LOG_BYTES, SqliteEventStore
from meshconsole.relay.store import NoQuota
from meshconsole.team.state import Team

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from meshconsole.core.config import Config
    from meshconsole.core.event import Event
    from meshconsole.core.sections import PerformanceMode
    from meshconsole.core.setup import FirstRun
    from meshconsole.crypto.keystore import Secrets
    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.recovery import Recovered
    from meshconsole.relay.store import EventStore, EvictionClass, Quota

LOG_SHARE = 32
"""Of the storage, so much is for the write-ahead log, as far as it needs it."""


def create_home(
    home: Home,
    first_run: FirstRun,
    passphrase: str | None,
    *,
    recovered: Recovered | None = None,
    keyfile: Path | None = None,
) -> None:
    """Without a passphrase the keystore opens with a key file (unattended start): `keyfile`, or one
    in the home. `recovered` is the identity of a backup in place of a new one.

    Raises Fatal when the home holds a node already or cannot be written.
    """
    if home.keystore.exists():
        raise Fatal(
            f"{home.path} already holds a node.",
            hint="Start it with 'meshconsole', or choose another --home.",
        )
    try:
        home.path.parent.mkdir(parents=True, exist_ok=True)
        if home.path.exists() and any(home.path.iterdir()):
            raise Fatal(
                f"{home.path} is not empty and holds no node.", hint="Choose an empty folder with --home."
            )
        building = Home(Path(tempfile.mkdtemp(dir=home.path.parent, prefix=f".{home.path.name}.")))
    except OSError as error:
        raise Fatal(
            f"Cannot create {home.path}: {error.strerror}.",
            hint="Choose a folder that this user may write, with --home.",
        ) from error
    try:
        _fill(building, first_run, passphrase, recovered, keyfile)
        if home.path.exists():
            home.path.rmdir()
        os.rename(building.path, home.path)
    except OSError as error:
        raise Fatal(f"Cannot create {home.path}: {error.strerror}.", hint="Check the free space.") from error
    finally:
        shutil.rmtree(building.path, ignore_errors=True)


def make_identity(unlocked: Secrets, provider: Provider) -> Identity:
    return Identity(unlocked.seed, suite_by_id(unlocked.suite), provider, unlocked.nsec)


def open_store(
    home: Home,
    config: Config,
    unlocked: Secrets,
    quota: Quota | None = None,
    may_go: Callable[[], Sequence[EvictionClass]] | None = None,
    clock: Callable[[], float] = time.time,
    mode: PerformanceMode = "balanced",
    memory_bytes: int = 0,
) -> EventStore:
    """The store that `relay.store` names; `may_go` says what makes room when the quota is full, `clock` what
    has expired. Raises errors of ours."""
    if is_postgres(config.relay.store):
        from meshconsole.relay.postgres.store import PostgresEventStore  # 6 MB that few nodes need

        return PostgresEventStore(config.relay.store, quota=quota, clock=clock)
    return SqliteEventStore(
        home.database,
        unlocked.database_key,
        unlocked.derive("tag-hash"),
        quota=quota,
        log_bytes=log_bytes(config),
        caches=caches_within(mode, memory_bytes),
        may_go=may_go,
        clock=clock,
    )


def log_bytes(config: Config) -> int:
    """What the event store's log may take."""
    return min(LOG_BYTES, config.limits.max_storage_mb * 1_000_000 // LOG_SHARE)


def _fill(
    home: Home,
    first_run: FirstRun,
    passphrase: str | None,
    recovered: Recovered | None,
    keyfile: Path | None,
) -> None:
    config = first_run.config
    suite = recovered.suite if recovered is not None else first_run.suite
    provider = sound_provider(config.crypto.provider, suite_by_id(suite))
    unlocked = Keystore.create(
        home.keystore,
        passphrase,
        keyfile=keyfile or (home.unlock_key if passphrase is None else None),
        seed=recovered.seed if recovered is not None else None,
        nsec=recovered.nsec if recovered is not None else None,
        suite=suite,
    )
    write_watermark(home.watermark, unlocked.derive("watermark"), Watermark())
    write_private(home.config, render_config(config).encode())
    home.blobs.mkdir(mode=0o700)
    asyncio.run(_prepare_content(home, unlocked))
    store, state = open_store(home, config, unlocked), NodeState(home.database, unlocked.database_key)
    try:
        if first_run.team == "create":
            identity = make_identity(unlocked, provider)
            now = int(time.time())
            team, events = Team.found(identity, first_run.team_name, first_run.name, now, provider)
            _store_all(store, events)
            remember_team(state, team)
    finally:
        store.close()
        state.close()


async def _prepare_content(home: Home, unlocked: Secrets) -> None:
    """Makes the tables now, so that no node has to load what makes them."""
    content = Content(
        home.blobs, unlocked.derive("blob-index"), quota=NoQuota(), emit=lambda _: None, clock=time.time
    )
    await content.start()
    await content.stop()


def _store_all(store: EventStore, events: list[Event]) -> None:
    for verdict in store.add(events):
        if not verdict.accepted:
            raise Fatal(f"The new team could not be stored: {verdict.message}.")
