"""5 Files: what the team shares, where it is, and how far a fetch has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.widgets.lines import Column, Lines
from meshconsole.console.words import (
    copies_in_words,
    duration_in_words,
    moment_in_words,
    short_key,
    size_in_words,
)
from meshconsole.core.status import BlobView

if TYPE_CHECKING:
    from meshconsole.console.ink import Span, Tone
    from meshconsole.console.model import Model
    from meshconsole.console.pace import Pace
    from meshconsole.console.profile import Profile
    from meshconsole.control.messages import Progress

TONES: dict[str, Tone] = {
    "here": "good",
    "partial": "warn",
    "elsewhere": "dim",
    "fetching": "accent",
    "paused": "warn",
    "failed": "bad",
}


class Files(Lines[BlobView]):
    def __init__(self, profile: Profile) -> None:
        self.transfers: dict[str, Progress] = {}
        self._paces: dict[str, Pace] = {}
        self._now = 0.0
        super().__init__(
            [
                Column("NAME", 0, lambda blob: (blob.name, "strong"), private=True),
                Column("SIZE", 7, lambda blob: (size_in_words(blob.size), ""), right=True),
                Column("STATE", 13, self._state),
                Column("", 14, self._progress, rank=1),
                Column("COPIES", 6, self._copies, rank=1, right=True),
                Column("PINNED", 6, lambda blob: ("pinned" if blob.pinned else "", "accent"), rank=2),
                Column("FROM", 10, lambda blob: (blob.author, ""), rank=3, private=True),
                Column("ADDED", 19, lambda blob: (moment_in_words(blob.added_at), "dim"), rank=4),
                Column("CID", 14, lambda blob: (short_key(blob.cid), "dim"), rank=5, private=True),
            ],
            key=lambda blob: blob.cid,
            profile=profile,
            title="5 Files",
            flexible=16,
            pleasant=24,
            id="files",
            classes="pane",
        )

    def show(self, model: Model, now: float) -> None:
        self.transfers, self._paces, self._now = model.transfers, model.paces, now
        files = model.files()
        self.replace(files)
        here = sum(blob.state == "here" for blob in files)
        short = sum(blob.is_short for blob in files)
        note = f"{here} of {len(files)} here" if files else ""
        self.set_note(f"{note}, {short} with too few copies" if short else note)

    def teach(self) -> list[str]:
        add = self.key("file.add")
        return [
            f"No files yet. Press {add} to add one: it is sealed for the team, then copied to peers.",
            f"Files that teammates add are listed here; {self.key('row.open')} fetches one.",
        ]

    def text_of(self, row: BlobView) -> str:
        return f"{row.name} {row.author} {row.state} {row.cid} {'pinned' if row.pinned else ''} {row.error}"

    def _state(self, blob: BlobView) -> Span:
        share = self._share(blob)
        words = blob.state if share is None else f"{blob.state} {share:.0%}"
        return words, TONES[blob.state]

    def _copies(self, blob: BlobView) -> Span:
        """How many there are of how many are wanted, red below that."""
        if not blob.copies and not blob.copies_wanted:
            return "", ""
        return f"{len(blob.copies)}/{blob.copies_wanted}", "bad" if blob.is_short else ""

    def _progress(self, blob: BlobView) -> Span:
        if blob.error:
            return blob.error, "bad"
        pace = pace_in_words(self._paces.get(blob.cid), self._now)
        if pace:
            return pace, "accent"
        share = self._share(blob)
        if share is None:
            return "", ""
        full = int(share * 14)
        glyphs = self.profile.glyphs
        return glyphs.bar * full + glyphs.rest * (14 - full), "accent"

    def _share(self, blob: BlobView) -> float | None:
        """Of a fetch from this console, else of what is here; None where there is nothing under way."""
        transfer = self.transfers.get(blob.cid)
        if transfer is not None and transfer.total:
            return min(1.0, transfer.have / transfer.total)
        if blob.state in ("partial", "fetching") and blob.sealed_size:
            return min(1.0, blob.present_bytes / blob.sealed_size)
        return None


def pace_in_words(pace: Pace | None, now: float) -> str:
    """Rate and time left in 14 characters, as far as they are known: "1.2 MB/s 12m"."""
    rate = pace.rate_bps(now) if pace is not None else 0.0
    if pace is None or not rate:
        return ""
    left = pace.left_s(now)
    words = f"{size_in_words(rate)}/s"
    return (
        words if left is None else f"{words} {duration_in_words(left).replace(' min', 'm').replace(' ', '')}"
    )


def in_full(blob: BlobView) -> list[tuple[str, str]]:
    return [
        ("name", blob.name),
        ("cid", blob.cid),
        ("size", f"{blob.size} bytes, {blob.sealed_size} sealed"),
        ("state", blob.state + (f": {blob.error}" if blob.error else "")),
        ("present", f"{blob.present_bytes} bytes"),
        ("pinned", "yes" if blob.pinned else "no"),
        ("copies", copies_in_words(blob.copies, blob.copies_wanted)),
        ("away too long", ", ".join(blob.copies_away)),
        ("from", blob.author),
        ("added", moment_in_words(blob.added_at)),
    ]
