"""Homes of which each kind is made once and then copied.

Making one takes a second of the processor's time, more than half of it to find a key derivation that is slow
enough for the machine; opening one with a passphrase takes as long each time. These have the quickest that a
keystore allows.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from scripts.machine import Failure

if TYPE_CHECKING:
    from pathlib import Path

    from scripts.machine import Machine

VARIABLE = "MESHCONSOLE_PASSPHRASE"

_INIT = """
import sys
from meshconsole.crypto import keystore, passphrase
keystore.calibrate = lambda: passphrase.SMALL
from meshconsole.cli.main import main
sys.exit(main(["init", "--yes", *sys.argv[1:]]))
"""


def make_home(machine: Machine, *options: str) -> None:
    """What `meshconsole init --yes` with its name and these options makes."""
    _make(machine.home, ("--name", machine.name, *options), machine.environment)


class Homes:
    """The same, but made only once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[tuple[str, ...], str], Path] = {}

    def __call__(self, machine: Machine, *options: str, passphrase: str = "") -> None:
        """`passphrase` is that of the machine's environment unless given. Two with the same name and options
        are the same device: no test may have both."""
        words = ("--name", machine.name, *options)
        kind = words, passphrase or machine.environment.get(VARIABLE, "")
        if kind not in self._made:
            home = self._made[kind] = self._folder / str(len(self._made))
            _make(home, words, machine.environment | {VARIABLE: kind[1]})
        shutil.copytree(self._made[kind], machine.home)


def _make(home: Path, words: tuple[str, ...], environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _INIT, *words, "--home", str(home)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise Failure(f"no home with {words}: {done.stderr}")
