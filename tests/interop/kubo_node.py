"""Kubo, the IPFS node in Go: a repository of its own in a temporary folder, that knows nobody."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULE = Path(__file__).parent / "kubo" / "go.mod"


def version() -> str:
    """The version that our lock names."""
    found = re.search(r"github\.com/ipfs/kubo (v\S+)", MODULE.read_text())
    assert found is not None
    return found[1]


def program() -> Path | None:
    """As `.ci/run` builds it, else whatever stands in PATH."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = cache / "meshconsole-ci" / f"kubo-{version()}" / "ipfs"
    if built.is_file():
        return built
    found = shutil.which("ipfs")
    return Path(found) if found else None


IPFS = program()

needs_kubo = [
    pytest.mark.interop,
    pytest.mark.skipif(
        IPFS is None,
        reason="Kubo (ipfs) is not installed; build it with Go: go -C tests/interop/kubo install "
        "github.com/ipfs/kubo/cmd/ipfs",
    ),
]


class Kubo:
    """A repository; its commands work with and without the daemon."""

    def __init__(self, path: Path, *profiles: str) -> None:
        self.path = path
        self.run("init", "--empty-repo", "--profile", ",".join(("test", *profiles)))
        self.run("config", "Routing.Type", "none")

    def run(self, *arguments: str | Path, data: bytes | None = None) -> bytes:
        done = subprocess.run(
            [IPFS or "ipfs", *map(str, arguments)],
            input=data,
            stdin=None if data is not None else subprocess.DEVNULL,
            capture_output=True,
            env=self._environment(),
            timeout=100,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def say(self, *arguments: str | Path, data: bytes | None = None) -> str:
        return self.run(*arguments, data=data).decode().strip()

    @contextmanager
    def daemon(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        """Until it is ready. `api` says where."""
        process = subprocess.Popen(
            [IPFS or "ipfs", "daemon", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
        )
        assert process.stdout is not None
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if line.startswith("Daemon is ready"):
                    break
            else:
                pytest.fail("Kubo did not start: " + "".join(said))
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()

    @property
    def api(self) -> str:
        """The multiaddr of the running daemon's RPC interface."""
        return (self.path / "api").read_text().strip()

    def block_files(self) -> list[Path]:
        return list((self.path / "blocks").glob("*/*.data"))

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "IPFS_PATH": str(self.path), "IPFS_TELEMETRY": "off", "GOMAXPROCS": "2"}
