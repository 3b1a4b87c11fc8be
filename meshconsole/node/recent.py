"""The events that the console lists: the newest ones, opened where this node may open them.

Rings in memory, filled from the store at start and by the bus afterwards, so that refused events
(which no store holds) are seen too, with the reason. The team's own events, other people's and
refused ones have a ring each: no stranger can push the team's notes out of sight. All are bounded,
by number and by size.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from meshconsole.core import kinds
from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.event import decode_event
from meshconsole.core.precedence import mark_of
from meshconsole.core.status import EventView
from meshconsole.core.verdict import ACCEPTED
from meshconsole.relay.guests import is_of_the_room, name_in
from meshconsole.team.courier import receipt_in_words
from meshconsole.team.notes import MAX_NOTE_BYTES
from meshconsole.team.plain import NOT_POST_QUANTUM, PlainMessage, is_addressed, open_message
from meshconsole.team.rollcall import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from meshconsole.core.event import Event
    from meshconsole.core.status import RollWord
    from meshconsole.core.verdict import Verdict
    from meshconsole.crypto.identity import Identity
    from meshconsole.team.rollcall import Roll
    from meshconsole.team.state import Team

TEAM_CAPACITY = 2_000
OTHERS_CAPACITY = 500
REFUSED_CAPACITY = 200
RING_BYTES = 4 << 20
STRANGERS_TEXT = 1_024
"""Characters of other people's notes that are kept here; what was cut ends in "…"."""
ANSWER_BYTES = 6 << 20
"""What one answer may hold, well below the control socket's largest frame."""
MAX_UNOPENED = 1_000
MAX_UNOPENED_WRAPS = 200
"""Apart from the team's events: any stranger may send them."""
SEALED_KINDS = frozenset({kinds.TEAM_NOTE, kinds.FILE_MANIFEST, kinds.DIRECT_MESSAGE})
THIS_DEVICE = "this device"
MAX_NAMED = 3
"""Recipients of a message to several that are named; the others are counted."""
MAX_GUEST_NAME = 32
MAX_TAGS = 20
"""Of an event that is kept as it is until somebody looks."""


REMOVED = " (removed)"
"""Behind the name of an author who does not belong any more."""


class _Opened(NamedTuple):
    """What there is to see of an event. `final`: that is all, whatever this node may still learn."""

    text: str
    final: bool = True
    to: str = ""
    removed: bool = False
    """It may have been written when its author did not belong any more."""
    plain: PlainMessage | None = None
    roll: Roll | None = None


class _Row(NamedTuple):
    order: int
    view: EventView

    @property
    def size(self) -> int:
        return 400 + 4 * (len(self.view.text) + len(self.view.verdict))


class _Ring:
    def __init__(self, capacity: int) -> None:
        self.rows: deque[_Row] = deque()
        self._capacity = capacity
        self._size = 0

    def add(self, row: _Row) -> None:
        self.rows.append(row)
        self._size += row.size
        while len(self.rows) > self._capacity or self._size > RING_BYTES:
            self._size -= self.rows.popleft().size

    def replace(self, order: int, view: EventView) -> None:
        for position, row in enumerate(self.rows):
            if row.order == order:
                self.rows[position] = _Row(order, view)
                self._size += self.rows[position].size - row.size
                return


class RecentEvents:
    def __init__(self, team: Callable[[], Team | None], me: Identity) -> None:
        self._team = team
        self._me = me
        self._order = count()
        self._ours = _Ring(TEAM_CAPACITY)
        self._others = _Ring(OTHERS_CAPACITY)
        self._refused = _Ring(REFUSED_CAPACITY)
        self._unopened: dict[str, tuple[int, Event, EventView]] = {}
        self._unopened_wraps: dict[str, tuple[int, Event, EventView]] = {}
        self._unseen: deque[tuple[bytes, int, float, str]] = deque(maxlen=OTHERS_CAPACITY)

    def add(
        self, event: Event, *, seq: int, received_at: float, size: int, via: str, verdict: Verdict
    ) -> EventView:
        self._look()
        return self._add(event, seq, received_at, size, via, verdict)

    def add_unseen(self, event: Event, raw: bytes, seq: int, received_at: float, via: str) -> bool:
        """As `add` for an accepted event while nobody looks: it is made readable when somebody does, if
        it is still among the newest then. False for what must be added at once."""
        if (
            event.kind in kinds.TEAM_KINDS
            or len(event.content) > STRANGERS_TEXT
            or len(event.tags) > MAX_TAGS
        ):
            return False
        self._unseen.append((raw, seq, received_at, via))  # a third of the memory that the event takes
        return True

    def _look(self) -> None:
        while self._unseen:
            raw, seq, received_at, via = self._unseen.popleft()
            self._add(decode_event(raw), seq, received_at, len(raw), via, ACCEPTED)

    def _add(
        self, event: Event, seq: int, received_at: float, size: int, via: str, verdict: Verdict
    ) -> EventView:
        opened = self._open(event)
        view = self._shown(
            EventView(
                seq=seq,
                id=event.id,
                npub=event.pubkey,
                author=self._guest(event),
                created_at=event.created_at,
                received_at=received_at,
                kind=event.kind,
                words=self._words(event),
                size=size,
                accepted=verdict.accepted,
                verdict=verdict.message or ("stored" if seq else "relayed"),
                via=self._way(via),
                sealed=event.kind in SEALED_KINDS,
                precedence=mark_of(event),
            ),
            opened,
        )
        row = _Row(next(self._order), view)
        self._ring(event, verdict).add(row)
        if not opened.final and verdict.accepted:
            wrap = event.kind == kinds.GIFT_WRAP
            waiting = self._unopened_wraps if wrap else self._unopened
            waiting[event.id] = (row.order, event, view)
            if len(waiting) > (MAX_UNOPENED_WRAPS if wrap else MAX_UNOPENED):
                del waiting[next(iter(waiting))]
        return view

    def _shown(self, view: EventView, opened: _Opened) -> EventView:
        """With what was found inside. A wrap is signed by a key that was made for it alone, so its
        author is the one whose seal it holds."""
        plain = opened.plain
        npub = view.npub if plain is None else plain.author
        if view.kind in kinds.MEMBERSHIP_KINDS and view.via in ("", THIS_DEVICE):
            name = "this relay"  # the key that it has for these alone (NIP-43) tells nobody anything
        elif view.kind == kinds.TEXT_NOTE and view.author:
            name = view.author  # a guest's
        else:
            name = self._author(npub) if plain is None else self._correspondent(npub)
        return msgspec.structs.replace(
            view,
            npub=npub,
            author=name + REMOVED if opened.removed else name,
            created_at=view.created_at if plain is None else plain.created_at,
            words="plain message" if plain else "roll call" if opened.roll else view.words,
            text=opened.text,
            to=opened.to,
            roll=_roll_word(opened.roll),
            about=opened.roll.to if isinstance(opened.roll, Answer) else "",
        )

    def reopen(self) -> list[EventView]:
        """After the team has changed: what can be opened now and could not before, and what was opened
        when its author still belonged."""
        views = self._mark_removed()
        for waiting, ring in ((self._unopened, self._ours), (self._unopened_wraps, self._others)):
            for event_id, (order, event, view) in list(waiting.items()):
                opened = self._open(event)
                if opened.final:
                    del waiting[event_id]
                    view = self._shown(view, opened)
                    ring.replace(order, view)
                    views.append(view)
        return views

    def _mark_removed(self) -> list[EventView]:
        team = self._team()
        gone = {member.npub for member in team.members() if member.removed} if team is not None else set()
        views = []
        for ring in (self._ours, self._others):
            for order, view in tuple(ring.rows) if gone else ():
                if view.sealed and view.text and view.npub in gone and not view.author.endswith(REMOVED):
                    marked = msgspec.structs.replace(view, author=view.author + REMOVED)
                    ring.replace(order, marked)
                    views.append(marked)
        return views

    def find(self, ids: Container[str]) -> tuple[EventView, ...]:
        """Those of the team's with one of these ids, the oldest first."""
        return tuple(row.view for row in self._ours.rows if row.view.id in ids and row.view.accepted)

    def rolls(self) -> Iterator[EventView]:
        """What was said in roll calls, by who belongs to the team now."""
        return (row.view for row in self._ours.rows if row.view.roll)

    def newest(self, limit: int, wanted: str = "") -> tuple[EventView, ...]:
        """Oldest first, and not more than one answer may hold. `wanted` keeps rows whose text holds it,
        "!" first inverts."""
        self._look()
        rows = sorted((*self._ours.rows, *self._others.rows, *self._refused.rows), reverse=True)
        found: list[EventView] = []
        room = ANSWER_BYTES
        for row in rows:
            if not _matches(row.view, wanted):
                continue
            room -= row.size
            if len(found) == limit or room < 0:
                break
            found.append(row.view)
        return tuple(reversed(found))

    def _ring(self, event: Event, verdict: Verdict) -> _Ring:
        if not verdict.accepted:
            return self._refused
        return self._ours if event.kind in kinds.TEAM_KINDS else self._others

    def _author(self, npub: str) -> str:
        team = self._team()
        member = team.member(npub) if team is not None else None
        return member.name if member is not None else npub[:8]

    def _guest(self, event: Event) -> str:
        """ "guest NAME" for what somebody wrote in the guests' room who does not belong; else "". The word
        stands first, so that no name that a guest takes is mistaken for a member's."""
        if not is_of_the_room(event):
            return ""
        team = self._team()
        known = event.pubkey == self._me.npub or (team is not None and team.member(event.pubkey) is not None)
        return "" if known else f"guest {_cut(name_in(event), MAX_GUEST_NAME) or event.pubkey[:8]}"

    def _words(self, event: Event) -> str:
        if is_of_the_room(event):
            return "guest's note" if self._guest(event) else "note to guests"
        return f"{mark_of(event)} {kinds.kind_in_words(event.kind)}".lstrip()

    def _way(self, via: str) -> str:
        """Where it came from, in words: a teammate's name, a client's address, "this device"."""
        if via == "local":
            return THIS_DEVICE
        kind, _, npub = via.partition(" ")
        return self._author(npub) if kind == "link" else via

    def _open(self, event: Event) -> _Opened:
        if event.kind in kinds.CONTROL_KINDS:
            return _Opened("")
        if is_addressed(event, self._me.npub):
            return self._open_plain(event)
        if event.kind == kinds.SIGNAL:
            return _Opened("sealed; two devices agree on a data channel")
        if event.kind == kinds.COURIER_RECEIPT:
            return _Opened(_cut(receipt_in_words(event.content)))
        if event.kind not in SEALED_KINDS:
            return _Opened(_cut(event.content))
        team = self._team()
        if team is None:
            return _Opened("sealed; this node has no key for it", final=False)
        try:
            if event.kind == kinds.DIRECT_MESSAGE:
                return _direct(team, event)
            if event.kind == kinds.TEAM_NOTE:
                note = team.open_note(event)
                return _Opened(note.text, removed=note.author_removed, roll=note.roll)
            entry, removed = team.open_manifest(event), team.role_of(event.pubkey) is None
            return _Opened(f"{entry.name} ({entry.size} bytes) {entry.cid}", removed=removed)
        except (Refused, RemoteError) as error:
            return _Opened(f"sealed; {error.sentence}", final=False)

    def _open_plain(self, event: Event) -> _Opened:
        """Where the team's rule is off it is left as it came, and that is said."""
        team = self._team()
        if team is not None and not team.rules.plain_messages:
            return _Opened("not opened: the team's rule plain_messages is off", final=False)
        try:
            message = open_message(self._me, event)
        except Refused as error:
            return _Opened(f"{NOT_POST_QUANTUM} not opened: {error.sentence}")
        names = [self._correspondent(npub) for npub in message.recipients[:MAX_NAMED]]
        more = len(message.recipients) - len(names)
        to = ", ".join([*names, *([f"{more} more"] if more > 0 else [])])
        author = team.member(message.author) if team is not None else None
        removed = author is not None and author.removed
        text = f"{NOT_POST_QUANTUM} {_cut(message.text, MAX_NOTE_BYTES)}"
        return _Opened(text, to=to, removed=removed, plain=message)

    def _correspondent(self, npub: str) -> str:
        """A plain client by the name that an admin gave it."""
        team = self._team()
        known = {client.npub: client.name for client in team.clients()} if team is not None else {}
        return known.get(npub) or self._author(npub)


def _roll_word(roll: Roll | None) -> RollWord:
    if roll is None:
        return ""
    return roll.word if isinstance(roll, Answer) else "ask"


def _direct(team: Team, event: Event) -> _Opened:
    message = team.open_direct(event)
    if message is None:
        return _Opened("sealed; between two other devices")
    return _Opened(message.text, to=message.recipient_name, removed=message.author_removed)


def _cut(text: str, most: int = STRANGERS_TEXT) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _matches(view: EventView, wanted: str) -> bool:
    if not wanted:
        return True
    inverted = wanted.startswith("!")
    needle = wanted.lstrip("!").casefold()
    haystack = f"{view.author} {view.words} {view.verdict} {view.line} {view.id}".casefold()
    return (needle in haystack) != inverted
