"""Asks the package index whether every pin can be installed, ready-made, on every machine we promise.

A pin passes if, for each Python and processor below, the index lists a wheel that fits and whose SHA-256
stands in the lock. The C library is that of Debian 12 (glibc 2.36). Exit code 1 if a pin fails.
"""

from __future__ import annotations

import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from scripts import fetch_pip

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ((3, 11), (3, 12), (3, 13))
PROCESSORS = ("x86_64", "aarch64")
NEWEST_GLIBC = 36
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    requirement: Requirement
    version: str
    hashes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Machine:
    python: tuple[int, int]
    processor: str

    def __str__(self) -> str:
        return f"Python {self.python[0]}.{self.python[1]} on {self.processor}"

    def environment(self) -> dict[str, str]:
        """The values that requirement markers are evaluated with (PEP 508)."""
        version = ".".join(map(str, self.python))
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.processor,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{version}.0",
            "python_version": version,
            "sys_platform": "linux",
        }

    def tags(self) -> frozenset[Tag]:
        platforms = [f"manylinux_2_{minor}_{self.processor}" for minor in range(NEWEST_GLIBC, 16, -1)]
        platforms += [f"manylinux2014_{self.processor}", f"linux_{self.processor}"]
        if self.processor == "x86_64":
            platforms += [f"manylinux_2_{minor}_x86_64" for minor in range(16, 4, -1)]
            platforms += ["manylinux2010_x86_64", "manylinux1_x86_64"]
        interpreter = f"cp{self.python[0]}{self.python[1]}"
        fitting = set(cpython_tags(self.python, platforms=platforms))
        return frozenset(fitting | set(compatible_tags(self.python, interpreter, platforms)))


def read_lock(path: Path) -> list[Pin]:
    """The pins of a lock in pip's format."""
    joined = path.read_text().replace("\\\n", " ")
    pins = []
    for line in joined.splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        requirement = Requirement(text.partition("--hash")[0].strip())
        version = next(iter(requirement.specifier)).version
        pins.append(Pin(requirement, version, frozenset(_HASH.findall(text))))
    return pins


def main() -> int:
    machines = [Machine(python, processor) for python in PYTHONS for processor in PROCESSORS]
    tags = {machine: machine.tags() for machine in machines}
    pins = {str(pin.requirement): pin for name in ("product", "dev") for pin in read_lock(_lock(name))}
    wanted = [pin for pin in pins.values() if any(_applies(pin, machine) for machine in machines)]
    with ThreadPoolExecutor(8) as pool:
        listed = list(pool.map(_files, wanted))
    failures = [
        f"{pin.requirement.name} {pin.version}: no wheel for {machine}"
        for pin, files in zip(wanted, listed, strict=True)
        for machine in machines
        if _applies(pin, machine) and not any(file & tags[machine] for file in files)
    ]
    print("\n".join(failures), file=sys.stderr, end="\n" if failures else "")
    print(f"{len(wanted)} pins, {len(machines)} kinds of machine, {len(failures)} missing wheels")
    return 1 if failures else 0


def _lock(name: str) -> Path:
    return ROOT / "requirements" / f"{name}.txt"


def _applies(pin: Pin, machine: Machine) -> bool:
    marker = pin.requirement.marker
    return marker is None or marker.evaluate(machine.environment())


def _files(pin: Pin) -> list[frozenset[Tag]]:
    """The tags of each of the pin's wheels that the index lists and the lock allows."""
    url = f"{fetch_pip.index_url().rstrip('/')}/{canonicalize_name(pin.requirement.name)}/"
    _, page = fetch_pip.get(url, 256 << 20, "application/vnd.pypi.simple.v1+json")
    found = []
    for file in json.loads(page)["files"]:
        try:
            _, version, _, tags = parse_wheel_filename(file["filename"])
        except InvalidWheelFilename:
            continue
        if str(version) == pin.version and file["hashes"].get("sha256") in pin.hashes:
            found.append(tags)
    return found


if __name__ == "__main__":
    sys.exit(main())
