from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.control.frames import MAX_SERVER_FRAME, pack
from meshconsole.control.messages import (
    BlobsPush,
    EventsPush,
    Notice,
    NoticesPush,
    Push,
    StatusPush,
    Subscribe,
)
from meshconsole.control.outbox import (
    MAX_BLOBS,
    MAX_EVENTS,
    MAX_NOTICES,
    SIGN_OF_LIFE_S,
    STATUS_PERIOD_S,
    Outbox,
)
from meshconsole.core.status import BlobView, NodeStatus
from tests.control.handler import a_status, an_event

if TYPE_CHECKING:
    from collections.abc import Callable


def calm() -> NodeStatus | None:
    return a_status()


def nothing() -> NodeStatus | None:
    return None


def subscribed(fps: float = 4.0, *, events: bool = True, blobs: bool = True) -> Outbox:
    outbox = Outbox()
    outbox.subscribe(Subscribe(fps, events, blobs))
    return outbox


def a_blob(cid: str, present: int = 0) -> BlobView:
    return BlobView(cid, "map.pdf", 100, 120, "hawk", 1.0, present, "partial")


def test_nothing_is_kept_for_a_client_that_did_not_subscribe() -> None:
    outbox = Outbox()
    outbox.put_events([an_event(1)])
    outbox.put_blobs([a_blob("c")])
    outbox.put_notice(Notice(1, "info", "x"))
    assert outbox.next_due() is None
    assert outbox.take(10.0, calm) == []
    outbox.subscribe(Subscribe())
    assert [type(push) for push in outbox.take(10.0, calm)] == [StatusPush]


def test_a_node_under_pressure_sends_fewer_frames_than_are_wanted_and_never_more() -> None:
    outbox, slow = subscribed(fps=4.0), subscribed(fps=0.5)
    for each in (outbox, slow):
        each.take(100.0, calm)
        each.status_changed()
        each.limit_fps = 1.0
    assert (outbox.next_due(), slow.next_due()) == (101.0, 102.0)
    outbox.limit_fps = None
    assert outbox.next_due() == 100.25


def test_a_burst_is_one_push_per_frame() -> None:
    outbox = subscribed(fps=2)
    outbox.take(100.0, calm)
    for seq in range(10):
        outbox.put_events([an_event(seq)])
        assert outbox.take(100.4, calm) == []
    assert outbox.next_due() == 100.5
    (push,) = outbox.take(100.5, calm)
    assert isinstance(push, EventsPush)
    assert [event.seq for event in push.events] == list(range(10))
    assert push.dropped == 0


def test_the_oldest_go_when_the_client_does_not_keep_up_and_are_counted() -> None:
    outbox = subscribed()
    outbox.put_events(an_event(seq) for seq in range(MAX_EVENTS + 7))
    pushes = outbox.take(1.0, nothing)
    assert isinstance(pushes[0], EventsPush)
    assert pushes[0].dropped == 7
    assert pushes[0].events[0].seq == 7
    outbox.put_events([an_event(9999)])
    later = outbox.take(2.0, nothing)
    assert later == [EventsPush((an_event(9999),), 0)]


def test_a_status_that_says_the_same_is_not_sent_again_until_the_sign_of_life() -> None:
    outbox = subscribed()
    assert outbox.take(0.0, calm) == [StatusPush(a_status())]
    clock = [0.0]

    def aging() -> NodeStatus:
        return a_status(now=clock[0])

    sent: list[float] = []
    while clock[0] < 2 * SIGN_OF_LIFE_S:
        due = outbox.next_due()
        assert due is not None
        assert due > clock[0]
        clock[0] = due
        if outbox.take(due, aging):
            sent.append(due)
    assert sent == [SIGN_OF_LIFE_S, 2 * SIGN_OF_LIFE_S]


def test_a_changed_status_is_sent_at_the_next_look_and_at_once_when_told() -> None:
    outbox = subscribed(fps=4)
    outbox.take(0.0, calm)
    assert outbox.next_due() == STATUS_PERIOD_S
    outbox.status_changed()
    assert outbox.next_due() == 0.25
    assert outbox.take(0.25, lambda: a_status("other")) == [StatusPush(a_status("other"))]


def test_blobs_keep_only_their_latest_state() -> None:
    outbox = subscribed()
    for present in range(5):
        outbox.put_blobs([a_blob("one", present), a_blob("two", present)])
    pushes = outbox.take(1.0, nothing)
    assert pushes == [BlobsPush((a_blob("one", 4), a_blob("two", 4)))]


def test_what_was_not_asked_for_is_not_sent() -> None:
    outbox = subscribed(events=False, blobs=False)
    outbox.put_events([an_event(1)])
    outbox.put_blobs([a_blob("c")])
    outbox.put_notice(Notice(1, "info", "x"))
    assert outbox.take(1.0, nothing) == [NoticesPush((Notice(1, "info", "x"),))]


Step = tuple[str, int]


@given(
    st.lists(
        st.tuples(st.sampled_from(["events", "blobs", "notice", "tick"]), st.integers(1, 300)), max_size=60
    )
)
def test_memory_is_bounded_and_no_event_is_lost_silently(steps: list[Step]) -> None:
    outbox = subscribed(fps=1)
    now, put, told = 0.0, 0, 0
    seq = 0

    def count(pushes: list[Push]) -> int:
        assert sum(isinstance(push, EventsPush) for push in pushes) <= 1
        for push in pushes:
            match push:
                case BlobsPush(blobs=blobs):
                    assert len(blobs) <= MAX_BLOBS
                case NoticesPush(notices=notices):
                    assert len(notices) <= MAX_NOTICES
        return sum(len(p.events) + p.dropped for p in pushes if isinstance(p, EventsPush))

    def put_notices(n: int) -> None:
        for _ in range(n):
            outbox.put_notice(Notice(now, "info", "x"))

    actions: dict[str, Callable[[int], None]] = {
        "events": lambda n: outbox.put_events([an_event(seq + i) for i in range(n)]),
        "blobs": lambda n: outbox.put_blobs([a_blob(f"{seq}-{i}") for i in range(n)]),
        "notice": lambda n: put_notices(n),
    }
    for what, amount in steps:
        if what == "tick":
            now += amount / 100
            told += count(outbox.take(now, nothing))
            continue
        actions[what](amount)
        seq += amount
        put += amount if what == "events" else 0
    told += count(outbox.take(now + 10, nothing))
    assert told == put


def test_a_push_of_long_notes_fits_a_frame() -> None:
    outbox = subscribed(blobs=False)
    long = msgspec.structs.replace(an_event(1), text="\N{GRINNING FACE}" * 16_000)
    outbox.put_events([long] * 400)
    (push,) = (push for push in outbox.take(0.0, nothing) if isinstance(push, EventsPush))
    assert len(pack(push)) < MAX_SERVER_FRAME
    assert push.dropped + len(push.events) == 400
    assert push.dropped
