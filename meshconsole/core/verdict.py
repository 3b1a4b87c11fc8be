"""Verdicts: what a policy, a store or a peer says of a thing offered to it. Pure.

The machine-readable prefixes are those of NIP-01 (`OK` and `CLOSED` messages).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Code = Literal[
    "",
    "duplicate",
    "pow",
    "blocked",
    "rate-limited",
    "invalid",
    "restricted",
    "auth-required",
    "mute",
    "error",
    "unsupported",
]


class Verdict(msgspec.Struct, frozen=True):
    """`accepted` with an empty code is a plain yes. "duplicate" is accepted too (NIP-01)."""

    accepted: bool
    code: Code = ""
    sentence: str = ""

    @property
    def message(self) -> str:
        """The fourth element of an `OK`, or the third of a `CLOSED`: "code: sentence" or ""."""
        return f"{self.code}: {self.sentence}" if self.code else ""


ACCEPTED = Verdict(True)
DUPLICATE = Verdict(True, "duplicate", "already have this event")


def refuse(code: Code, sentence: str) -> Verdict:
    return Verdict(False, code, sentence)
