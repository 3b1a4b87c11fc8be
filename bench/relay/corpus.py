"""Signed events, made once and kept on disk beside other temporary files.

A corpus looks like what a relay holds: notes, replies, reactions, reposts and articles of 500 authors, one
every eight seconds, nine tenths sent in order of time and one tenth late. No two share a second, so that
every query has exactly one right answer, whatever a relay does with ties. Words are drawn by rank as in any
language; every second text also ends in a word that only some twenty notes share, for searches.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from hashlib import sha256
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path

from bench.relay.wire import frame
from meshconsole.core.event import encode_event
from meshconsole.crypto.schnorr import public_key, sign_event

AUTHORS = 500
SPACING_S = 8
LATE = 0.1
BLOCK = 2000
KEPT_DAYS = 20
"""Events are signed anew from time to time, because relays refuse what is too old."""
TEXT, REPOST, REACTION, ARTICLE = 1, 6, 7, 30023
_KINDS = (TEXT, REACTION, REPOST, ARTICLE)
_WEIGHTS = (66, 27, 4, 3)
_WORDS = 3000


def corpus(count: int, seed: int = 0) -> list[bytes]:
    """`count` events as JSON, in the order in which they are sent."""
    return _kept(f"corpus-{seed}-{count}", partial(_block, seed, count), count)


def notes(purpose: str, count: int, seed: int = 0) -> list[bytes]:
    """Newer notes of one author who wrote nothing else, for phases that need events of their own."""
    return _kept(f"notes-{purpose}-{seed}-{count}", partial(_notes, purpose, seed), count)


def author_of(purpose: str, seed: int = 0) -> str:
    return public_key(_secret(f"{purpose} {seed}"))


def frames(events: list[bytes]) -> list[bytes]:
    """What a client sends to publish them."""
    return [frame(b'["EVENT",%b]' % event) for event in events]


def _kept(name: str, make: partial[list[bytes]], count: int) -> list[bytes]:
    period = int(time.time()) // (KEPT_DAYS * 86400)
    folder = Path(
        os.environ.get("MESHCONSOLE_BENCH_CACHE") or Path(tempfile.gettempdir()) / "meshconsole-bench"
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{period}.jsonl"
    if not path.exists():
        spans = [(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            made = [line for block in pool.map(make, [period] * len(spans), spans) for line in block]
        made = _as_sent(made) if name.startswith("corpus") else made
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(b"\n".join(made))
        part.replace(path)
    return path.read_bytes().split(b"\n")


def _as_sent(made: list[bytes]) -> list[bytes]:
    chance = random.Random(len(made))
    late = [
        (place + chance.random() * len(made) if chance.random() < LATE else place)
        for place in range(len(made))
    ]
    return [made[place] for place in sorted(range(len(made)), key=late.__getitem__)]


def _end(period: int) -> int:
    """The second before which a corpus ends, and after which the other notes are dated."""
    return period * KEPT_DAYS * 86400 - 1_000_000


def _block(seed: int, count: int, period: int, span: tuple[int, int]) -> list[bytes]:
    chance = random.Random(f"{seed} {count} {span}")
    secrets = [_secret(f"author {number} {seed}") for number in range(AUTHORS)]
    words = _Words(chance, count)
    lines: list[bytes] = []
    targets: list[tuple[str, str]] = []
    for place in range(*span):
        secret = secrets[chance.randrange(AUTHORS)]
        created_at = _end(period) - (count - place) * SPACING_S + seed % SPACING_S
        kind = chance.choices(_KINDS, _WEIGHTS)[0]
        tags: tuple[tuple[str, ...], ...] = ()
        content = words.text()
        if kind == ARTICLE:
            tags = (("d", f"article-{place}"), ("title", content[:40]))
        elif targets and (kind != TEXT or chance.random() < 0.4):
            identifier, author = targets[chance.randrange(len(targets))]
            tags = (("e", identifier), ("p", author))
        if kind == REACTION:
            content = "+"
        event = sign_event(secret, kind, tags, content, created_at)
        lines.append(encode_event(event))
        if kind == TEXT and (not targets or chance.random() < 0.1):
            targets.append((event.id, event.pubkey))
    return lines


def _notes(purpose: str, seed: int, period: int, span: tuple[int, int]) -> list[bytes]:
    chance = random.Random(f"{purpose} {seed} {span}")
    secret, words = _secret(f"{purpose} {seed}"), _Words(chance, 1000)
    return [
        encode_event(sign_event(secret, TEXT, (("t", purpose),), words.text(), _end(period) + 1 + place))
        for place in range(*span)
    ]


class _Words:
    def __init__(self, chance: random.Random, count: int) -> None:
        self._chance = chance
        self._rare = max(1, count * _WEIGHTS[0] // 100 // 2 // 20)
        letters = random.Random(1)
        self._words = [
            "".join(letters.choices("abcdefghiklmnoprstuw", k=letters.randint(2, 10))) for _ in range(_WORDS)
        ]
        self._ranks = list(accumulate(1 / (rank + 3) for rank in range(_WORDS)))

    def text(self) -> str:
        words = self._chance.choices(self._words, cum_weights=self._ranks, k=self._chance.randint(8, 40))
        if self._chance.random() < 0.5:
            words.append(f"xq{self._chance.randrange(self._rare):06}")
        return " ".join(words)


def _secret(name: str) -> bytes:
    return sha256(f"meshconsole bench {name}".encode()).digest()
