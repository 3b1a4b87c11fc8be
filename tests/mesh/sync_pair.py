"""Two sync machines, their stores and a wire between them, all in memory and all by hand."""

from __future__ import annotations

import json
import random
from collections import deque
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from meshconsole.core.kinds import CONTROL_KINDS, DELETION, TEXT_NOTE
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, Verdict, refuse
from meshconsole.mesh.asked import Asked
from meshconsole.mesh.asks import (
    AnswerCompare,
    Ask,
    FindMissing,
    Gather,
    ReadControl,
    ReadIds,
    ReadRows,
    SaveCursor,
    Store,
    StoreLive,
    TakeStep,
)
from meshconsole.mesh.comparing import Snapshot
from meshconsole.mesh.known import KnownIds
from meshconsole.mesh.messages import Live, Sync, decode_sync, encode
from meshconsole.mesh.peer import CIPHERTEXT_KINDS, PeerSync
from meshconsole.mesh.rows import Row
from meshconsole.relay.items import ItemVector
from meshconsole.relay.negentropy import Responder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def make_event(label: str, kind: int = TEXT_NOTE, size: int = 0) -> bytes:
    """An event as far as the machines look at it."""
    event_id = sha256(f"{label}/{kind}/{size}".encode()).hexdigest()
    return json.dumps({"id": event_id, "kind": kind, "content": label + "." * size}).encode()


def id_of(raw: bytes) -> bytes:
    return bytes.fromhex(raw[8:72].decode())


@dataclass
class MemoryStore:
    """A log by seq. `judge` may refuse an event; what was added twice is counted."""

    log_id: str
    judge: Callable[[bytes], Verdict] = lambda _raw: ACCEPTED
    rows: list[tuple[int, bytes]] = field(default_factory=list)
    ids: set[bytes] = field(default_factory=set)
    local: set[bytes] = field(default_factory=set)
    head: int = 0
    offered_again: int = 0
    most: int = 100_000
    """Events that a snapshot may cover."""
    added: Callable[[bytes], None] = lambda _raw: None
    cursors: dict[str, int] = field(default_factory=dict)

    def add(self, raw: bytes, *, local: bool = False, gap: int = 0) -> Verdict:
        event_id = id_of(raw)
        if event_id in self.ids:
            self.offered_again += 1
            return DUPLICATE
        verdict = self.judge(raw)
        if verdict.accepted:
            self.head += 1 + gap
            self.ids.add(event_id)
            self.rows.append((self.head, raw))
            if local:
                self.local.add(event_id)
            self.added(raw)
        return verdict

    def read(self, after: int, limit: int) -> list[Row]:
        return [self._row(seq, raw) for seq, raw in self.rows if seq > after][:limit]

    def control(self) -> list[Row]:
        return [self._row(seq, raw) for seq, raw in self.rows if json.loads(raw)["kind"] in CONTROL_KINDS]

    def find(self, ids: Sequence[bytes]) -> list[Row]:
        places = {event_id: place for place, event_id in enumerate(ids)}
        rows = [self._row(seq, raw) for seq, raw in self.rows if id_of(raw) in places]
        return sorted(rows, key=lambda row: places[row.id])

    def snapshot(self, *, sealed: bool) -> Snapshot | None:
        if len(self.rows) > self.most:
            return None
        raws = [raw for _, raw in self.rows if not sealed or json.loads(raw)["kind"] in CIPHERTEXT_KINDS]
        # The number of bytes stands for the time: most events have the same.
        items = ItemVector(sorted((len(raw), id_of(raw)) for raw in raws))
        urgent = frozenset(id_of(raw) for raw in raws if json.loads(raw)["kind"] == DELETION)
        return Snapshot(self.head, items, urgent)

    def _row(self, seq: int, raw: bytes) -> Row:
        return Row(seq, id_of(raw), json.loads(raw)["kind"], raw, push=id_of(raw) in self.local)


class Side:
    """A node's machine for one peer, and its store."""

    def __init__(
        self,
        store: MemoryStore,
        role_of_peer: str = "member",
        settled: KnownIds | None = None,
        asked: Asked | None = None,
    ) -> None:
        self.store = store
        self.settled = KnownIds() if settled is None else settled
        self.asked = Asked() if asked is None else asked
        self.role_of_peer = role_of_peer
        self.reset()

    def reset(self) -> None:
        """As after a restart of the process: the store and the cursors remain."""
        self.sync = PeerSync.make(
            self.store.log_id,
            self.store.head,
            self.settled,
            self.asked,
            lambda: self.role_of_peer,
            random.Random(7),
        )
        self.responder: tuple[int, Responder] | None = None
        self.compared = 0
        self.asks: deque[Ask] = deque()
        self.live: list[bytes] = []

    def write(self, raw: bytes, now: float) -> None:
        assert self.store.add(raw, local=True).accepted
        self.sync.stored(self.store.head, now)

    def collect(self) -> None:
        self.asks.extend(self.sync.take_asks())

    def answer_one(self, now: float) -> bool:
        """Does one thing the machine asked for; False if there is none."""
        self.collect()
        if not self.asks:
            return False
        serving, taking = self.sync.serving, self.sync.taking
        match self.asks.popleft():
            case ReadControl(epoch):
                serving.control(epoch, self.store.control(), now)
            case ReadRows(epoch, after, limit):
                serving.rows(epoch, self.store.read(after, limit), now)
            case ReadIds(epoch, ids):
                serving.found(epoch, self.store.find(ids), now)
            case Gather(epoch, sealed):
                serving.gathered(epoch, self.store.snapshot(sealed=sealed), now)
            case TakeStep(epoch, initiator, data):
                serving.stepped(epoch, initiator.receive(data), now)
            case AnswerCompare(stream, number, sealed, data):
                if data:
                    taking.answered(stream, number, self._answer(number, sealed, data))
            case FindMissing(stream, number, ids):
                taking.missing(stream, number, {i for i in ids if i not in self.store.ids}, now)
            case Store(stream, events):
                verdicts = [self.store.add(raw) for raw in events]
                taking.stored(stream, verdicts, now)
                self.sync.stored(self.store.head, now)
            case StoreLive(events):
                self.live.extend(events)
                taking.judge([self.store.judge(raw) for raw in events])
            case SaveCursor(stream, log_id, seq):
                self.store.cursors[log_id] = seq
                taking.saved(stream, now)
        return True

    def _answer(self, number: int, sealed: bool, data: bytes) -> bytes:
        if self.responder is None or self.responder[0] != number:
            snapshot = self.store.snapshot(sealed=sealed)
            if snapshot is None:
                return b""
            self.responder = number, Responder(snapshot.items)
            self.compared += 1
        return self.responder[1].receive(data)


@dataclass
class Pair:
    """`a` and `b` joined by a wire that keeps order and loses everything when it is cut."""

    a: Side
    b: Side
    now: float = 1000.0
    to_a: deque[bytes] = field(default_factory=deque)
    to_b: deque[bytes] = field(default_factory=deque)
    bytes_carried: int = 0
    steps: int = 0

    def connect(self) -> None:
        for me, other in ((self.a, self.b), (self.b, self.a)):
            log_id = other.store.log_id
            me.sync.serving.head = max(me.sync.serving.head, me.store.head)
            me.sync.taking.start(log_id, other.store.head, me.store.cursors.get(log_id, 0))

    def cut(self) -> None:
        """The link goes, with all that is under way."""
        self.to_a.clear()
        self.to_b.clear()
        for side in (self.a, self.b):
            side.sync.serving.stop()
            side.sync.taking.stop()

    def step(self) -> bool:
        """One message delivered or one ask answered; False when all is quiet."""
        self.steps += 1
        for me, inbox, out in ((self.a, self.to_a, self.to_b), (self.b, self.to_b, self.to_a)):
            self.flush(me, out)
            if inbox:
                data = inbox.popleft()
                me.sync.receive(decode_sync(data), self.now)
                self.flush(me, out)
                return True
            if me.answer_one(self.now):
                self.flush(me, out)
                return True
        return bool(self.to_a or self.to_b)

    def settle(self, limit: int = 100_000, within_s: float = 60.0) -> None:
        """Runs until nothing moves and no timer is due within `within_s`, moving the clock to each timer."""
        for _ in range(limit):
            if self.step():
                continue
            timers = [t for t in (self.a.sync.next_timer(), self.b.sync.next_timer()) if t is not None]
            if not timers or min(timers) > self.now + within_s:
                return
            self.now = max(self.now, min(timers))
            self.a.sync.handle_timer(self.now)
            self.b.sync.handle_timer(self.now)
        raise AssertionError("The pair never settles.")

    def flush(self, me: Side, out: deque[bytes]) -> None:
        messages: list[Sync | Live] = [
            *me.sync.taking.outbox,
            *me.sync.take_served(),
            *(live for _, live in me.sync.live_outbox),
        ]
        me.sync.taking.outbox.clear()
        me.sync.live_outbox.clear()
        for message in messages:
            data = encode(message)
            self.bytes_carried += len(data)
            out.append(data)


def make_pair(role_of_b: str = "member") -> Pair:
    return Pair(Side(MemoryStore("log-a"), role_of_b), Side(MemoryStore("log-b")))


def refuse_label(label: str, code: str = "invalid") -> Callable[[bytes], Verdict]:
    def judge(raw: bytes) -> Verdict:
        content = json.loads(raw)["content"]
        return refuse(code, f"no {label}") if content.startswith(label) else ACCEPTED  # type: ignore[arg-type]

    return judge


def fill_store(side: Side, label: str, count: int, *, local: bool = True, size: int = 0) -> None:
    for number in range(count):
        side.store.add(make_event(f"{label}{number}", size=size), local=local)
