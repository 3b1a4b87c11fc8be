"""A PostgreSQL of our own, for tests and benchmarks: in a temporary folder, gone afterwards, all durable.

PostgreSQL refuses to run as root; then it runs as a user without rights, in a folder of that user.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROGRAMS = ("initdb", "pg_ctl", "postgres")
MISSING = "PostgreSQL's programs are not here (initdb, pg_ctl, postgres): apt install postgresql"
USER = "meshconsole"
PASSWORD = "not-a-secret"


def programs() -> Path | None:
    """The folder with the server's programs; Debian keeps them out of PATH."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    folders += [Path(found).parent] if found else []
    whole = (folder for folder in folders if all((folder / name).exists() for name in PROGRAMS))
    return next(whole, None)


def _version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


_WATCH = """
read _
kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")"
rm -rf "$0"
"""
"""Ends the server and its folder when whoever made it is gone, were it by kill -9: then the read ends."""


class Cluster:
    """Starts at once. On a Unix socket everybody is let in, on loopback with the password."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="meshconsole-postgres-"))
        self._user = _unprivileged()
        self.port = _free_port()
        self._numbers = itertools.count(1)
        self._used: list[str] = []
        self.ended = False
        self._watch = subprocess.Popen(
            ["sh", "-c", _WATCH, str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self._run(
            "initdb",
            *("--username", USER, "--pwfile", str(password), "--auth-local=trust"),
            *("--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"),
        )
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c shared_buffers=32MB"
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, how: str = "immediate") -> None:
        """`immediate` is what a crash leaves behind."""
        self._run("pg_ctl", "-w", "-m", how, "stop")

    def remove(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop()
        self.ended = True
        shutil.rmtree(self.folder, ignore_errors=True)
        self._watch.communicate()

    def url(self, database: str = "postgres", *, search_path: str = "", user: str = USER) -> str:
        path = f"&options={quote(f'-csearch_path={search_path}')}" if search_path else ""
        return (
            f"postgresql://{user}@/{database}?host={quote(str(self.folder), safe='')}&port={self.port}{path}"
        )

    def execute(self, statement: str, url: str | None = None) -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(url or self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextlib.contextmanager
    def schema(self) -> Iterator[str]:
        """The URL of an empty place for one store."""
        name = f"s{next(self._numbers)}"
        self.execute(f"create schema {name}")
        try:
            yield self.url(search_path=name)
        finally:
            if not self.ended:
                self.execute(f"drop schema {name} cascade")

    @contextlib.contextmanager
    def emptied(self, tables: Sequence[str], reset: str) -> Iterator[str]:
        """The URL of a place whose tables are empty, if there are any: making and dropping tables takes
        longer than most tests. `reset` is what puts the rest back to the start."""
        url = self._used.pop() if self._used else None
        if url is None:
            name = f"s{next(self._numbers)}"
            self.execute(f"create schema {name}")
            url = self.url(search_path=name)
        yield url
        if not self.ended:
            self.execute("; ".join([*(f"delete from {table}" for table in tables), reset]), url)
            self._used.append(url)

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        return int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), "-D", str(self.folder / "data"), *arguments]
        # Not through pipes: the server inherits them, and their end would never come.
        with (self.folder / f"{program}.log").open("w") as output:
            subprocess.run(
                command,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
                env={**os.environ, "LC_ALL": "C"},
            )


def _unprivileged() -> pwd.struct_passwd | None:
    """Who runs the server, None for ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("root cannot run PostgreSQL, and there is neither a user postgres nor nobody")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
