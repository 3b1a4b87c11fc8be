"""Importing any module of this room starts nothing, prints nothing, and does not load liboqs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import meshconsole.crypto

ROOM = Path(meshconsole.crypto.__file__).parent
MODULES = sorted(f"meshconsole.crypto.{path.stem}" for path in ROOM.glob("*.py") if path.stem != "__init__")

WATCH = dedent(
    """
    import importlib, sys
    seen = []
    watched = {
        "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
        "socket.connect", "socket.getaddrinfo", "socket.bind",
    }
    sys.addaudithook(lambda name, args: seen.append((name, args)) if name in watched else None)
    """
)

IMPORTS_ALL = WATCH + dedent(
    """
    for name in sys.argv[1:]:
        importlib.import_module(name)
    assert not seen, seen
    assert "oqs" not in sys.modules
    """
)

REPORTS = WATCH + dedent(
    """
    from meshconsole.crypto.providers import choose_provider, provider_reports
    choose_provider("auto")
    assert len(provider_reports()) == 2
    assert not seen, seen
    """
)

IMPORTS_ONE = WATCH + dedent(
    """
    importlib.import_module(sys.argv[1])
    print(*sorted(sys.modules))
    """
)


def run(code: str, home: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    environment = {"HOME": str(home), "PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOM.parents[1])}
    return subprocess.run(
        [sys.executable, "-B", "-c", code, *arguments],
        env=environment,
        cwd=home,
        capture_output=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("code", "arguments"), [(IMPORTS_ALL, MODULES), (REPORTS, [])], ids=["import", "reports"]
)
def test_nothing_is_started_printed_or_written(tmp_path: Path, code: str, arguments: list[str]) -> None:
    done = run(code, tmp_path, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("identity", {"OpenSSL", "sqlcipher3", "asyncio", "cryptography.x509"}),
        ("keystore", {"OpenSSL", "sqlcipher3", "coincurve", "asyncio"}),
        ("database", {"OpenSSL", "coincurve", "asyncio"}),
        ("tls", {"sqlcipher3", "coincurve", "asyncio"}),
    ],
)
def test_what_is_heavy_is_imported_only_where_it_is_used(
    tmp_path: Path, module: str, absent: set[str]
) -> None:
    done = run(IMPORTS_ONE, tmp_path, f"meshconsole.crypto.{module}")
    assert done.returncode == 0, done.stderr
    assert not absent & set(done.stdout.decode().split())
