"""What an installation takes on the disk: the packages of the product's lock, with WebRTC and without.

As installed, without the byte code that Python adds when it first runs.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path

from packaging.requirements import Requirement

from bench.figures import Figure

ROOT = Path(__file__).resolve().parent.parent
WEBRTC = "aiortc"


def measure() -> list[Figure]:
    names = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements" / "product.txt").read_text(), re.MULTILINE)
    sizes = {name: size for name in set(names) if (size := _installed_bytes(name))}
    declared = (ROOT / "requirements" / "product.in").read_text().split("\n")
    wanted = {Requirement(line).name for line in declared if line} - {WEBRTC}
    without = sum(sizes.get(name, 0) for name in _reachable(wanted))
    own = sum(path.stat().st_size for path in (ROOT / "meshconsole").rglob("*") if _counts(path))
    return [
        Figure("installed, all packages", (sum(sizes.values()) + own) / 1e6, "MB", f"{len(sizes)} packages"),
        Figure("installed, without WebRTC", (without + own) / 1e6, "MB", "without aiortc and what it needs"),
        Figure("of it meshconsole itself", own / 1e6, "MB"),
    ]


def _installed_bytes(name: str) -> int:
    """0 for what this platform does without."""
    try:
        files = distribution(name).files or []
    except PackageNotFoundError:
        return 0
    return sum(path.stat().st_size for file in files if _counts(path := Path(str(file.locate()))))


def _counts(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc"


def _reachable(names: set[str]) -> set[str]:
    """These packages and all that they need here."""
    found: set[str] = set()
    waiting = {_normal(name) for name in names}
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            needs = [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
        needed = {
            _normal(need.name) for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})
        }
        waiting |= needed - found
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
