"""A laptop is taken while its node runs or after it was killed: nothing readable is on its disk."""

from __future__ import annotations

import base64
import os
import resource
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_keys import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from scripts.machine import Machine
    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PASSPHRASE = "correct horse"
MARKERS = {
    "a note": "PlantedNoteText",
    "a file's content": "PlantedFileContent",
    "a file's name": "PlantedFileName",
    "the team's name": "PlantedTeamName",
    "a member's name": "PlantedMemberName",
    "the passphrase": PASSPHRASE,
}


def spellings(marker: str) -> list[bytes]:
    """As it is, in UTF-16, in hex, and in Base64 at each of its three alignments."""
    raw = marker.encode()
    aligned = [base64.b64encode(b"x" * shift + raw)[4 if shift else 0 : -4] for shift in range(3)]
    return [raw, marker.encode("utf-16-le"), raw.hex().encode(), *aligned]


def found_in(folder: Path) -> set[tuple[str, str]]:
    """(what, file) for every marker in any file below `folder`."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for what, marker in MARKERS.items():
                if any(spelling in content for spelling in spellings(marker)):
                    found.add((what, path.name))
    return found


class Taken:
    """A node with planted secrets, and the disk that holds its home, the folder for temporary files and the
    folder in which it would leave a core."""

    def __init__(self, alpha: Machine, disk: Path, *options: str) -> None:
        self.alpha = alpha
        self.disk = disk
        self.options = options
        self.log = ""

    def start(self) -> None:
        limits = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
        before = os.getcwd()
        os.chdir(self.disk / "cwd")
        options = ("--listen", "127.0.0.1:0", "--set", "log.level=debug", *self.options)
        try:
            self._node = Node(self.alpha, *options, PYTHONPATH=before)
        finally:
            os.chdir(before)
            resource.setrlimit(resource.RLIMIT_CORE, limits)
        self._node.logs("serving on")

    def end(self, by: signal.Signals) -> None:
        self._node.process.send_signal(by)
        self._node.end()
        self.log += "".join(self._node.seen)


@pytest.fixture
def taken(machine: Callable[..., Machine], init: Homes, tmp_path: Path) -> Iterator[Taken]:
    disk = tmp_path / "disk"
    for folder in ("temporary", "cwd"):
        (disk / folder).mkdir(parents=True)
    alpha, bravo = machine("alpha", disk), machine(MARKERS["a member's name"])
    secret = tmp_path / "passphrase"
    secret.write_text(PASSPHRASE)
    alpha.environment |= {"TMPDIR": str(disk / "temporary")}
    given = ("--passphrase-file", str(secret))
    alpha.command("init", "--yes", "--name", "alpha", "--team", MARKERS["the team's name"], *given)
    init(bravo)
    bravo.start()
    taken = Taken(alpha, disk, *given)
    taken.start()
    try:
        bravo.command("team", "join", alpha.json("team", "invite")["text"])
        alpha.command("send", MARKERS["a note"])
        file = tmp_path / MARKERS["a file's name"]
        file.write_text(MARKERS["a file's content"] * 1000)
        alpha.command("blobs", "add", str(file))
        bravo.wait("the note", lambda _: MARKERS["a note"] in bravo.texts())
        yield taken
    finally:
        taken.end(signal.SIGKILL)


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    for number, marker in enumerate(MARKERS.values()):
        for place, spelling in enumerate(spellings(marker)):
            (tmp_path / f"{number}-{place}").write_bytes(b"\0" * 7 + spelling + b"\0")
    assert len(found_in(tmp_path)) >= len(MARKERS) * len(spellings("x"))


def test_no_marker_is_in_any_file_however_the_node_ended(taken: Taken) -> None:
    """While it runs, too."""
    for end in (None, signal.SIGABRT, signal.SIGSEGV, signal.SIGKILL):
        assert (taken.alpha.home / "node.db-wal").stat().st_size > 0
        if end is not None:
            taken.end(end)
            assert list((taken.disk / "cwd").iterdir()) == [], "no core"
        (taken.disk / "log").write_text(taken.log)
        assert found_in(taken.disk) == set()
        if end is not None:
            taken.start()
            taken.alpha.command("send", MARKERS["a note"])


def test_without_its_device_secret_it_opens_with_no_passphrase_and_what_was_exported_is_sealed(
    taken: Taken, tmp_path: Path, machine: Callable[..., Machine]
) -> None:
    alpha = taken.alpha
    alpha.command("export", str(tmp_path / "exported.jsonl"))
    taken.end(signal.SIGKILL)
    exported = (tmp_path / "exported.jsonl").read_bytes()
    for what in ("a note", "a file's name", "a file's content"):
        assert not any(spelling in exported for spelling in spellings(MARKERS[what]))
    stolen = machine("stolen")
    shutil.copytree(alpha.home, stolen.home, ignore=shutil.ignore_patterns("*.sock"))
    (stolen.home / "keystore.device").unlink()
    given = ("--passphrase-file", str(tmp_path / "passphrase"))
    done = stolen.command("node", "--listen", "127.0.0.1:0", *given, check=False)
    assert done.returncode == 1
    assert "keystore.device is missing" in done.stderr
    (stolen.home / "keystore.device").write_bytes(os.urandom(32))
    done = stolen.command("node", "--listen", "127.0.0.1:0", *given, check=False)
    assert "passphrase is wrong" in done.stderr
    shutil.copy(alpha.home / "keystore.device", stolen.home)
    assert "mcseed1" in stolen.command("backup", "seed", *given).stdout
