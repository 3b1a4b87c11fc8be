"""What the fault tests measured, kept between runs in one file beside the checkout's other caches."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tests.netlab.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN_LATE_S = 2
"""A status is pushed within so long."""
KEPT = Path(__file__).resolve().parents[2] / ".netlab" / "figures.json"


class Figure(msgspec.Struct, frozen=True):
    """One measured fault. `is_met`: it keeps what faults.py promises; `less_showing`: but only less the two
    seconds by which it may have been shown late."""

    text: str
    is_met: bool
    less_showing: bool = False

    @property
    def verdict(self) -> str:
        if not self.is_met:
            return "**not met**"
        return f"met, less the {SHOWN_LATE_S} s by which it may be shown late" if self.less_showing else "met"


class Ledger:
    """The figures of one run."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] = {}

    def noted(self, fault: str, text: str, *, is_met: bool, less_showing: bool = False) -> None:
        """Prints the figure and keeps it. `fault` is a key of FAULTS. For tests that run beside others on a
        busy machine: that it happens at all they assert themselves."""
        figure = self._figures[fault] = Figure(text, is_met, less_showing)
        print(f"\n{fault}: {text} (promised: {FAULTS[fault].promise}): {figure.verdict}")

    def measured(self, fault: str, text: str, *, is_met: bool, less_showing: bool = False) -> None:
        """As `noted`, and fails if the promise is not met."""
        self.noted(fault, text, is_met=is_met, less_showing=less_showing)
        assert is_met, f"{fault}: {text}; promised: {FAULTS[fault].promise}"

    def save(self, path: Path = KEPT) -> None:
        """Beside those of earlier runs; figures of this run replace those of the same fault."""
        if not self._figures:
            return
        path.parent.mkdir(exist_ok=True)
        with path.with_suffix(".lock").open("w") as lock:  # several runs may end at once
            fcntl.flock(lock, fcntl.LOCK_EX)
            figures = {**load(path), **self._figures}
            path.write_text(json.dumps(msgspec.to_builtins(figures), indent=1, sort_keys=True) + "\n")


def load(path: Path = KEPT) -> Mapping[str, Figure]:
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Figure]) if path.exists() else {}
