"""3 Storage: how much of the promised space is used, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.console.widgets.meter import Meter, draw_meters, level
from meshconsole.console.widgets.sheet import Sheet
from meshconsole.console.widgets.spark import spark
from meshconsole.console.words import count_in_words, duration_in_words, size_in_words
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.console.ink import Line, Tone
    from meshconsole.console.model import Model
    from meshconsole.console.profile import Profile
    from meshconsole.core.status import StorageStatus

LOW_DISK_BYTES = 200_000_000
LOW_DISK_FILES = 50_000
ROOMY = 9
"""Rows above which there is room for what may go."""
FULL_SOON_S = 3 * 86_400


class Storage(Sheet, can_focus=True):
    def __init__(self, profile: Profile) -> None:
        super().__init__(title="3 Storage", id="storage", classes="pane")
        self.profile = profile
        self.model: Model | None = None

    def show(self, model: Model) -> None:
        self.model = model
        if model.status is not None:
            storage = model.status.storage
            word, _ = level(storage.used_bytes, storage.quota_bytes)
            self.set_border(self.title, "refusing writes" if storage.refusing else word)
        self.update()

    def compose_lines(self, width: int, height: int) -> list[Line]:
        if self.model is None or self.model.status is None:
            return []
        storage = self.model.status.storage
        glyphs = self.profile.glyphs
        used = f"{size_in_words(storage.used_bytes)} of {size_in_words(storage.quota_bytes)}"
        label = "used   " if height >= 6 else "used"
        lines = draw_meters([Meter(label, storage.used_bytes, storage.quota_bytes, used)], width, glyphs)
        if storage.refusing:
            lines.append([("Refusing writes: no room left.", "bad")])
        if storage.blocks_trouble:
            lines.append([(safe(storage.blocks_trouble), "bad")])
        lines += _details(storage, glyphs.dot, roomy=height >= 6)
        if short := sum(blob.is_short for blob in self.model.files()):
            label = "copies  " if height >= 6 else "copies "
            lines.append(
                [
                    (label, "dim"),
                    (f"too few of {count_in_words(short)} {'file' if short == 1 else 'files'}", "bad"),
                ]
            )
        if height > ROOMY and storage.evictable_bytes:
            words = f"{size_in_words(storage.evictable_bytes)} not pinned, least used first"
            lines.append([("evict   ", "dim"), (words, "")])
        if height > len(lines) + 1:
            label = "trend   "
            values = list(self.model.stored.values)[-(width - len(label)) :]
            # From the least to the most of what is shown: beside the whole quota growth would not be seen.
            floor = min(values, default=0.0)
            line = spark([value - floor for value in values], width - len(label), glyphs.spark)
            lines.append([(label, "dim"), (line, "good")])
            if height > len(lines) + 1 and values:
                grown = size_in_words(values[-1] - floor)
                over = duration_in_words(len(values) * self.model.stored.step_s)
                lines.append([(" " * len(label), ""), (f"{grown} more within {over}", "dim")])
        return lines[:height]


def _room_for_files(storage: StorageStatus, dot: str) -> Line:
    """Said only where it may run out before the space does."""
    files = storage.disk_free_files
    if files is None or files >= LOW_DISK_FILES:
        return []
    return [(f" {dot} room for {count_in_words(files)} files", "bad")]


def _details(storage: StorageStatus, dot: str, *, roomy: bool) -> list[Line]:
    events, blocks = count_in_words(storage.events_count), count_in_words(storage.blocks_count)
    free = size_in_words(storage.disk_free_bytes)
    free_tone: Tone = "bad" if storage.disk_free_bytes < LOW_DISK_BYTES else ""
    if not roomy:
        return [
            [(f"{events} ", ""), ("events", "dim"), (f" {dot} {blocks} ", ""), ("blocks", "dim")],
            [
                (f"{size_in_words(storage.pinned_bytes)} ", ""),
                ("pinned", "dim"),
                (f" {dot} {free} ", free_tone),
                ("free", "dim"),
            ],
        ]
    growth = f"{size_in_words(storage.growth_bps * 86_400)} a day" if storage.growth_bps > 0 else "none"
    full_in_s = storage.full_in_s
    full: Line = [(f" {dot} full in {duration_in_words(full_in_s)}", "")] if full_in_s is not None else []
    if full_in_s is not None and full_in_s < FULL_SOON_S:
        full = [(full[0][0], "bad")]
    log: Line = [(f" {dot} {size_in_words(storage.log_bytes)} of log", "dim")] if storage.log_bytes else []
    return [
        [("events  ", "dim"), (f"{size_in_words(storage.events_bytes)} {dot} {events} events", "")],
        [
            ("files   ", "dim"),
            (f"{size_in_words(storage.blocks_bytes)} {dot} {blocks} blocks", ""),
            (f" {dot} {size_in_words(storage.pinned_bytes)} pinned" if storage.pinned_bytes else "", "dim"),
        ],
        [("audit   ", "dim"), (f"{size_in_words(storage.audit_bytes)} of acts", ""), *log],
        [("growth  ", "dim"), (growth, ""), *full],
        [("disk    ", "dim"), (f"{free} free", free_tone), *_room_for_files(storage, dot)],
    ]
