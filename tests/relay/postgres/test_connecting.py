"""A server that is not there, or not usable, is told in a sentence; a password in none."""

from __future__ import annotations

import logging
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Fatal, MeshconsoleError, Unavailable
from meshconsole.core.store_url import without_password
from meshconsole.relay.postgres import connecting, schema
from meshconsole.relay.postgres.probing import probe
from meshconsole.relay.postgres.store import PostgresEventStore
from scripts.postgres import PASSWORD, USER
from tests.relay.making import unsigned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scripts.postgres import Cluster

SECRET = "s3cret/w:ith@signs"
QUOTED = "s3cret%2Fw%3Aith%40signs"


def refusal(url: str, kind: type[MeshconsoleError]) -> str:
    """What is said, by the store and by doctor alike."""
    with pytest.raises(kind) as stored:
        PostgresEventStore(url).close()
    with pytest.raises(kind) as probed:
        probe(url)
    assert str(stored.value) == str(probed.value)
    assert stored.value.hint
    for secret in (SECRET, QUOTED, "s3cret"):
        assert secret not in str(stored.value)
    return str(stored.value)


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{SECRET}@host/db",
        "postgresql://u:123/s3cret@host/db",
        "postgresql://u:s3cret/x@host/db",
        "postgresql://u:s3cret",
        f"postgresql://u:{QUOTED}@host:port/db",
        f"postgresql://u:{QUOTED}@host/db?nonsense=1",
        f"postgresql://u:{QUOTED}@host/db?nonsense={QUOTED}",
        f"postgresql://u:{QUOTED}@[host/db",
        f"postgresql://u:s3cret%zz@host/db?password={QUOTED}",
    ],
)
def test_a_url_that_makes_no_sense(url: str) -> None:
    with pytest.raises(MeshconsoleError) as caught:
        PostgresEventStore(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_server(tmp_path: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"postgresql://u:{QUOTED}@127.0.0.1:{taken.getsockname()[1]}/db"
        said = refusal(url, Unavailable)
        assert "No PostgreSQL server answers (127.0.0.1:" in said
        assert "database db" in said
    assert "No PostgreSQL server answers" in refusal(f"postgresql://u@/db?host={tmp_path}", Unavailable)


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connecting.DEFAULTS, "connect_timeout", "1")
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/db"
        assert "does not answer in time" in refusal(url, Unavailable)


def test_a_wrong_password(postgres: Cluster) -> None:
    url = f"postgresql://{USER}:{QUOTED}@127.0.0.1:{postgres.port}/postgres"
    assert "refuses the password" in refusal(url, Fatal)
    assert "refuses the password" in refusal(url.replace(f":{QUOTED}", ""), Fatal)


@pytest.mark.parametrize("where", ["url", "environment", "pgpass"])
def test_the_password_is_found_where_libpq_looks(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    user = f"{USER}:{PASSWORD}" if where == "url" else USER
    if where == "environment":
        monkeypatch.setenv("PGPASSWORD", PASSWORD)
    elif where == "pgpass":
        file = tmp_path / "pgpass"
        file.write_text(f"127.0.0.1:{postgres.port}:postgres:{USER}:{PASSWORD}\n")
        file.chmod(0o600)
        monkeypatch.setenv("PGPASSFILE", str(file))
    probed = probe(f"postgresql://{user}@127.0.0.1:{postgres.port}/postgres")
    assert probed.server.startswith("PostgreSQL ")
    assert f"at 127.0.0.1:{postgres.port}, database postgres, user {USER}" in probed.server
    assert PASSWORD not in str(probed)
    assert not probed.warnings, "a connection on this machine needs no encryption"


def test_the_password_is_in_no_log_and_no_title(
    postgres: Cluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    with postgres.schema() as place:
        options = place.partition("&options=")[2]
        url = f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{postgres.port}/postgres?options={options}"
        store = PostgresEventStore(url)
        try:
            store.follow(lambda rows: None)
            store.add([unsigned()])
            titles = postgres.execute("select pg_stat_activity::text from pg_stat_activity", url)
            assert len(titles) >= 3
            assert not any(PASSWORD in str(title) for title in titles)
            assert PASSWORD not in store.description
        finally:
            store.close()
    assert PASSWORD not in caplog.text


def test_no_such_database_or_user(postgres: Cluster) -> None:
    assert "no such database" in refusal(postgres.url("nowhere"), Fatal)
    assert "does not know this user" in refusal(postgres.url(user="nobody-here"), Fatal)


def test_a_user_without_rights(postgres: Cluster) -> None:
    with postgres.schema() as url:
        postgres.execute("drop role if exists guest")
        postgres.execute("create role guest login")
        guest = url.replace(f"//{USER}@", "//guest@")
        name = url.rpartition("%3D")[2]
        assert "no schema" in refusal(guest, Fatal)
        postgres.execute(f"grant usage on schema {name} to guest")
        assert "may not make tables" in refusal(guest, Fatal)
        PostgresEventStore(url).close()
        with pytest.raises(Fatal, match="may not use the event store's tables"):
            PostgresEventStore(guest)
        postgres.execute(f"revoke usage on schema {name} from guest; drop role guest")


def test_an_old_server(postgres: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "OLDEST_SERVER", 990000)
    said = refusal(postgres.url(), Fatal)
    assert "too old" in said
    assert "99 or newer" in said


def test_a_database_in_another_encoding(postgres: Cluster) -> None:
    postgres.execute("create database latin encoding 'LATIN1' template template0 lc_collate 'C' lc_ctype 'C'")
    try:
        assert "not in UTF-8" in refusal(postgres.url("latin"), Fatal)
    finally:
        postgres.execute("drop database latin with (force)")


def test_tables_of_a_newer_version(postgres: Cluster) -> None:
    with postgres.schema() as url:
        PostgresEventStore(url).close()
        postgres.execute(f"insert into mc_version values ({len(schema.MIGRATIONS) + 1})", url)
        with pytest.raises(Fatal, match="newer meshconsole"):
            PostgresEventStore(url)


def test_a_server_that_takes_no_writes(
    postgres: Cluster, open_store: Callable[[], PostgresEventStore]
) -> None:
    store = open_store()
    assert store._writer is not None
    store._writer.execute("set default_transaction_read_only = on")
    store._writer.commit()
    verdict = store.add([unsigned()])[0]
    assert verdict.code == "error"
    assert "takes no writes" in verdict.sentence


def test_durability_is_insisted_on(postgres: Cluster, open_store: Callable[[], PostgresEventStore]) -> None:
    """Whatever the server's default is, an OK means that the event is on the disk."""
    postgres.execute(f"alter role {USER} set synchronous_commit = off")
    try:
        store = open_store()
        assert store._writer is not None
        assert store._writer.execute("show synchronous_commit").fetchall() == [("on",)]
        store._writer.close()
        assert store.add([unsigned()])[0].accepted
        assert store._writer.execute("show synchronous_commit").fetchall() == [("on",)]
    finally:
        postgres.execute(f"alter role {USER} reset synchronous_commit")


def test_tables_that_are_gone(
    postgres: Cluster, open_store: Callable[[], PostgresEventStore], url: str
) -> None:
    store = open_store()
    postgres.execute("drop table mc_tags, mc_events", url)
    assert "not in the PostgreSQL database any more" in store.add([unsigned()])[0].sentence
    with pytest.raises(Fatal, match="any more"):
        store.known([unsigned().id])


def test_masks_agree_with_what_is_said() -> None:
    assert "s3cret" not in without_password(f"postgresql://u:{SECRET}@host/db")
