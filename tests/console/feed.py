"""What the team in the field has written and shared."""

from __future__ import annotations

import random

from meshconsole.core.kinds import EPOCH_GRANT, FILE_MANIFEST, KEY_BUNDLE, ROSTER_ENTRY, TEAM_NOTE, TEXT_NOTE
from meshconsole.core.status import BlobView, EventView
from tests.console.field import NOW, npub_of


def an_event(seq: int, author: str, kind: int, text: str, *, at: float, **more: object) -> EventView:
    generator = random.Random(seq)
    fields: dict[str, object] = {
        "accepted": True,
        "verdict": "",
        "via": "this device" if author == "falcon-3" else "hub",
        "sealed": kind in (TEAM_NOTE, FILE_MANIFEST),
        "words": WORDS.get(kind, f"kind {kind}"),
        **more,
    }
    return EventView(
        seq=seq,
        id=generator.randbytes(32).hex(),
        npub=npub_of(author),
        author=author,
        created_at=int(at),
        received_at=at,
        kind=kind,
        size=300 + len(text) + generator.randrange(900),
        text=text,
        **fields,  # type: ignore[arg-type]
    )


WORDS = {
    TEXT_NOTE: "note",
    ROSTER_ENTRY: "roster",
    TEAM_NOTE: "team note",
    FILE_MANIFEST: "file",
    KEY_BUNDLE: "key bundle",
    EPOCH_GRANT: "key grant",
}


STORY: tuple[tuple[str, int, str], ...] = (
    ("hub", KEY_BUNDLE, ""),
    ("falcon-1", ROSTER_ENTRY, "medic admitted as member"),
    ("falcon-1", EPOCH_GRANT, ""),
    ("medic", TEAM_NOTE, "On the net. Two bags, one stretcher."),
    ("falcon-2", TEAM_NOTE, "North ridge is clear, moving to the saddle."),
    ("truck-1", TEAM_NOTE, "Fuel at 40 %, road 7 is open again."),
    ("falcon-3", TEAM_NOTE, "Copy. Water point is at the chapel."),
    ("falcon-2", FILE_MANIFEST, "ridge-north.geojson"),
    ("truck-1", TEAM_NOTE, "At the bridge. Waiting."),
    ("medic", TEAM_NOTE, "Need the blood list from base before dark."),
    ("base", FILE_MANIFEST, "blood-list.pdf"),
    ("falcon-1", TEAM_NOTE, "Everyone: radio check at 1400."),
)


def busy_events() -> list[EventView]:
    events: list[EventView] = []
    for seq in range(1, 61):
        at = NOW - (61 - seq) * 17
        if seq % 13 == 0:
            reason = ("invalid: signature does not match", "rate-limited: more than 50 events a second")[
                seq % 2
            ]
            events.append(
                an_event(
                    seq,
                    "",
                    TEXT_NOTE,
                    "",
                    at=at,
                    accepted=False,
                    verdict=reason,
                    via="192.0.2.44",
                    sealed=False,
                )
            )
            continue
        author, kind, text = STORY[seq % len(STORY)]
        verdict = "duplicate: already have this event" if seq % 17 == 0 else ""
        events.append(an_event(seq, author, kind, text, at=at, verdict=verdict))
    return events


def a_blob(name: str, size: int, author: str, state: str, *, at: float, **more: object) -> BlobView:
    sealed = size + size // 50 + 512
    present = {"here": sealed, "partial": sealed * 5 // 8, "fetching": sealed // 4}.get(state, 0)
    cid = "bafybei" + random.Random(name).randbytes(26).hex()
    return BlobView(cid, name, size, sealed, author, at, present, state, **more)  # type: ignore[arg-type]


def copies(*names: str) -> dict[str, object]:
    return {"copies": names, "copies_wanted": 2}


def busy_blobs() -> list[BlobView]:
    return [
        a_blob(
            "ridge-north.geojson",
            48_210,
            "falcon-2",
            "here",
            at=NOW - 700,
            pinned=True,
            **copies("falcon-2", "hub"),
        ),
        a_blob("blood-list.pdf", 212_000, "base", "elsewhere", at=NOW - 900, **copies("base")),
        a_blob("map-sheet-12.mbtiles", 184_000_000, "hub", "partial", at=NOW - 5200),
        a_blob("radio-plan.pdf", 96_400, "falcon-1", "here", at=NOW - 9000, pinned=True),
        a_blob("drone-0412.mp4", 71_800_000, "falcon-2", "fetching", at=NOW - 12_000),
        a_blob("old-photos.zip", 402_000_000, "boat", "failed", at=NOW - 80_000, error="nobody has it"),
    ]
