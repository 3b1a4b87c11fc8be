"""The bench's own logic: what it expects of a relay, and how it sums up."""

from __future__ import annotations

import json
import math
import random
import socket
from typing import Any

import msgspec
import pytest

from bench.relay.corpus import frames
from bench.relay.queries import CLASSES, Query, Reference, is_right, queries
from bench.relay.reading import _Asker
from bench.relay.summary import Goal, judge, medians, percentile, ratio
from bench.relay.wire import Counter, Frames, Wire, frame
from meshconsole.core.event import decode_event, encode_event
from meshconsole.relay.filter import matches, parse_filter
from meshconsole.relay.frames import text_frames
from tests.relay.making import signed

TEXTS = ("one two", "two three xq000001", "three xq000002")


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    chance = random.Random(7)
    made = [signed("alice", 1, (), "target", 1)]
    for number in range(2, 40):
        tags: Any = (("e", made[0].id), ("p", chance.choice(made).pubkey)) if number % 3 else ()
        author = chance.choice(("alice", "bob", "carol"))
        made.append(signed(author, chance.choice((1, 6, 7)), tags, chance.choice(TEXTS), number))
    chance.shuffle(made)
    return [encode_event(event) for event in made]


@pytest.mark.parametrize("name", CLASSES)
def test_the_reference_answers_as_a_plain_scan_does(lines: list[bytes], name: str) -> None:
    events = [decode_event(line) for line in lines]
    for query in queries(Reference(lines), (name,), 30):
        fields = json.loads(query.request)
        word, limit = fields.pop("search", ""), fields.get("limit", 500)
        wanted = parse_filter(fields)
        found = [event for event in events if matches(wanted, event) and word in event.content.split(" ")[-1]]
        newest = sorted(found, key=lambda event: -event.created_at)[:limit]
        assert query.expected == tuple(event.id for event in newest), fields


def test_an_answer_is_judged_by_its_ids_and_where_it_matters_their_order() -> None:
    first, second = "a" * 64, "b" * 64
    reply = f'\x81\x7e["EVENT","q",{{"id":"{first}"}}]["EVENT","q",{{"id": "{second}"}}]["EOSE","q"]'.encode(
        "latin-1"
    )
    assert is_right(Query("", b"", (first, second)), reply)
    assert not is_right(Query("", b"", (second, first)), reply)
    assert is_right(Query("", b"", (second, first), ordered=False), reply)
    assert not is_right(Query("", b"", (first,)), reply)
    assert not is_right(Query("", b"", ()), b'["CLOSED","q","error: too slow"]')
    assert is_right(Query("", b"", ()), b'["EOSE","q"]')
    assert not is_right(Query("", b"", (first,), ordered=False), reply + reply)


def test_a_ping_within_a_reply_is_answered_and_left_out() -> None:
    told, relay = socket.socketpair()
    asker = _Asker(_Connected(told), [Query("", b"{}", ("a" * 64,))])
    asker.begin(math.inf)
    told_first = len(relay.recv(4096))
    event, end = b'["EVENT","q0",{"id":"%b"}]' % (b"a" * 64), b'["EOSE","q0"]'
    first = text_frames([event, b"\x89" * 300])
    asker.hear(first[:30], 0.0)
    asker.hear(first[30:] + b"\x89\x02hi", 1.0)
    assert not asker.replies
    asker.hear(text_frames([end]) + b"\x89\x02ho", 2.0)
    assert asker.done
    assert asker.replies == [first + text_frames([end])]
    assert told_first
    assert relay.recv(4096) == frame(b"hi", 10) + frame(b"ho", 10)
    told.close()
    relay.close()


class _Connected(Wire):
    """A connection past its handshake."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._unsent = b""


def test_the_right_value_is_the_smallest_that_covers_the_share() -> None:
    values = [float(number) for number in range(1, 101)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([3.0], 0.99) == 3
    assert math.isnan(percentile([], 0.5))


def test_ratios_are_taken_within_rounds() -> None:
    ours, theirs = [{"x": 10.0}, {"x": 100.0}, {"x": 30.0}], [{"x": 5.0}, {"x": 100.0}, {"x": 10.0}]
    assert ratio("x", ours, theirs) == 2
    assert medians(ours) == {"x": 30}
    assert math.isnan(ratio("y", ours, theirs))


def test_goals_are_judged_for_their_mode_and_what_was_measured() -> None:
    ours, strfry = [{"ingest": 100.0, "RSS loaded": 60.0}], [{"ingest": 100.0}]
    judged = {(each.goal.metric, each.goal.is_met(each.value)) for each in judge("saver", ours, {})}
    assert judged == {("RSS loaded", False)}
    judged = {
        (each.goal.metric, each.goal.is_met(each.value)) for each in judge("full", ours, {"strfry": strfry})
    }
    assert judged == {("RSS loaded", True), ("ingest", False)}
    assert Goal("x", 1).is_met(1)
    assert Goal("x", 1, least=False).is_met(1)


@pytest.mark.parametrize(("size", "long"), [(1, 300), (7, 300), (4096, 70_000)])
def test_nothing_is_lost_or_doubled_where_a_stream_is_cut(size: int, long: int) -> None:
    messages = [b'["OK","%d",true,""]' % number for number in range(50)] + [b"x" * long, b'["OK",']
    stream = text_frames(messages)
    counter, parser = Counter(b'["OK",'), Frames()
    counted, heard = 0, []
    for start in range(0, len(stream), size):
        counted += counter.feed(stream[start : start + size])
        heard += parser.feed(stream[start : start + size])[0]
    assert heard == messages
    assert counted == 51


def test_what_is_sent_is_a_masked_frame_of_the_event() -> None:
    event = b'{"id":"%b"}' % (b"x" * 200)
    [sent] = frames([event])
    head, mask, body = sent[:4], sent[4:8], sent[8:]
    assert head == b"\x81" + bytes((0x80 | 126,)) + len(body).to_bytes(2, "big")
    plain = bytes(byte ^ mask[place % 4] for place, byte in enumerate(body))
    assert msgspec.json.decode(plain)[0] == "EVENT"
