"""What a process loads: seen from outside, in fresh interpreters, because imports cannot be taken back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "textual",
    "rich",
    "aiortc",
    "aioice",
    "av",
    "psycopg",
    "sqlcipher3",
    "websockets",
    "zeroconf",
    "cryptography",
}

_LIST_MODULES = (
    "import json, sys; print('\\n' + json.dumps(sorted({n.partition('.')[0] for n in sys.modules})))"
)


def loaded_after(code: str) -> set[str]:
    """The top-level packages in sys.modules of a new interpreter that has run `code`."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{_LIST_MODULES}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "80"},
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def running(*arguments: str) -> str:
    """Code that runs a command of the command line to its end, whatever its exit code."""
    return f"from meshconsole.cli.main import main\ntry: main({list(arguments)!r})\nexcept SystemExit: pass"


def test_the_probe_sees_what_is_loaded() -> None:
    assert "textual" in loaded_after("import textual")


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_after(running("--help")) & (HEAVY | {"asyncio"})


@pytest.mark.parametrize(
    "command", ["run", "init", "node", "status", "events", "blobs", "team", "send", "config", "doctor"]
)
def test_help_of_a_command_loads_nothing_heavy(command: str) -> None:
    assert not loaded_after(running(command, "--help")) & HEAVY


def test_reading_from_a_node_loads_nothing_heavy(tmp_path: Path) -> None:
    assert not loaded_after(running("status", "--json", "--home", str(tmp_path))) & HEAVY


def test_control_loads_core_only() -> None:
    loaded = loaded_after("import meshconsole.control.client, meshconsole.control.server")
    assert not loaded & HEAVY


@pytest.mark.parametrize(
    "room", ["core", "control", "crypto", "team", "relay", "content", "mesh", "edge", "node"]
)
def test_no_room_below_the_console_loads_textual(room: str) -> None:
    code = (
        "import importlib, pkgutil, meshconsole\n"
        f"room = importlib.import_module('meshconsole.{room}')\n"
        "for found in pkgutil.walk_packages(room.__path__, room.__name__ + '.'):\n"
        "    importlib.import_module(found.name)"
    )
    assert not loaded_after(code) & {"textual", "rich"}


def test_a_headless_node_loads_no_webrtc_before_it_is_needed() -> None:
    loaded = loaded_after("import meshconsole.node.run, meshconsole.node.node")
    assert not loaded & {"aiortc", "aioice", "av", "pylibsrtp", "textual", "rich"}


def test_a_passphrase_is_stretched_before_the_rooms_are_loaded() -> None:
    """Which takes a quarter of a second, and goes on beside it (node/run.py)."""
    rooms = "('control', 'team', 'relay', 'content', 'mesh', 'edge')"
    code = (
        "import sys, meshconsole.node.run\n"
        f"assert not [name for name in sys.modules for room in {rooms} if name == f'meshconsole.{{room}}']"
    )
    assert not loaded_after(code) & (HEAVY - {"cryptography"} | {"OpenSSL", "coincurve"})


def test_the_rooms_that_a_start_loads_beside_it_are_all_that_it_needs() -> None:
    code = (
        "import sys, meshconsole.node.run as run\n"
        "run.load_rooms()\n"
        "before = set(sys.modules)\n"
        "import meshconsole.node.acts.commands, meshconsole.node.locked, meshconsole.control.server\n"
        "assert not set(sys.modules) - before, set(sys.modules) - before\n"
        "assert 'meshconsole.node.first_boot' not in before\n"
        "from meshconsole.control import frames\n"
        "assert not frames._command_decoder.cache_info().currsize, 'made before the first frame'"
    )
    loaded_after(code)


_DATACLASSES = """
import dataclasses, sys, meshconsole.node.run as run
run.load_rooms()
ours = [(name, module) for name, module in sys.modules.items() if name.startswith("meshconsole.")]
kinds = {kind for name, module in ours for kind in vars(module).values() if isinstance(kind, type)
    and kind.__module__ == name and dataclasses.is_dataclass(kind)}
assert len(ours) > 300 and kinds
measured = ("meshconsole.relay.", "meshconsole.mesh.links.")
for kind in kinds:
    special = any(not each.init or not each.repr for each in dataclasses.fields(kind))
    assert special or kind.__name__ == "KeyBundle" or kind.__module__.startswith(measured), kind
"""


def test_what_every_node_loads_is_structs() -> None:
    """A dataclass costs fifteen times as much to make (docs/decisions/0038-values-are-structs.md)."""
    loaded_after(_DATACLASSES)


def test_a_node_loads_no_archives_for_the_sake_of_a_version() -> None:
    code = "import meshconsole.node.run as run; run.load_rooms()"
    assert not loaded_after(code) & {"zipfile", "csv"}


def test_a_node_loads_nothing_for_guests_before_the_first() -> None:
    code = (
        "import sys, meshconsole.node.run, meshconsole.node.node, meshconsole.node.acts.commands\n"
        "assert not [name for name in sys.modules if name.startswith('meshconsole.mesh.guests')]"
    )
    loaded_after(code)


def test_a_node_with_an_embedded_store_loads_no_postgresql() -> None:
    loaded = loaded_after("import meshconsole.node.run, meshconsole.node.node, meshconsole.node.setup")
    assert not loaded & {"psycopg", "psycopg_binary"}


def test_a_node_whose_libp2p_is_off_loads_none_of_it() -> None:
    loads = "import sys, meshconsole.node.run, meshconsole.node.node, meshconsole.mesh.service"
    probe = "assert not [name for name in sys.modules if name.startswith('meshconsole.content.libp2p')]"
    loaded_after(f"{loads}\n{probe}")


_IMPORTS_EVERYTHING = """
import importlib, pathlib, pkgutil, sys
seen = []
watched = {
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty",
    "socket.connect", "socket.getaddrinfo", "socket.bind", "os.mkdir",
}
writing = ("w", "a", "x", "+")

def watch(name, args):
    if name == "subprocess.Popen" and args[0] == "/sbin/ldconfig":
        return  # ifaddr asks it where libc is
    if name in watched or (name == "open" and any(c in str(args[1] or "") for c in writing)):
        seen.append((name, args))

sys.addaudithook(watch)
import meshconsole
count = 0
for found in pkgutil.walk_packages(meshconsole.__path__, "meshconsole."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
        count += 1
assert count > 150, count
assert not seen, seen
assert "oqs" not in sys.modules
"""


def test_importing_any_module_fetches_builds_prints_and_writes_nothing(tmp_path: Path) -> None:
    """Without liboqs `import oqs` would clone and build one: nothing of ours imports it at all."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", _IMPORTS_EVERYTHING],
        env={"HOME": str(tmp_path), "PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []
