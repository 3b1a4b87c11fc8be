"""The message path under random fire: every answer is one that a relay may give, and none is missing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshconsole.relay.event import claimed_id
from tests.relay.fuzzing import Shell, feed
from tests.relay.making import raw, signed, unsigned
from tests.relay.seeds import SEEDS
from tests.relay.session_bench import HEX

ROOT = Path(__file__).parents[2]
FUZZER = ROOT / ".venv-fuzz/bin/python"
NO_FUZZER = "the fuzzer is not set up; do it with: make fuzz (x86-64 only)"

VERBS = ("EVENT", "REQ", "CLOSE", "COUNT", "AUTH", "NEG-OPEN", "NEG-MSG", "NEG-CLOSE", "req", "")
odd_numbers = st.sampled_from([0, 1, 7, 1059, 65536, 2**53])
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | odd_numbers
odd_texts = st.sampled_from(["", "s", HEX, HEX.upper(), "ALL_RELAYS", "6100000200", "\x7f\x00"])
texts = st.text(max_size=20) | odd_texts
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
lists = st.lists(texts | numbers, max_size=4)
filters = st.fixed_dictionaries(
    {},
    optional={
        "ids": lists | values,
        "authors": lists | values,
        "kinds": lists | values,
        "since": numbers | values,
        "until": numbers | values,
        "limit": st.integers(-1, 5) | values,
        "search": texts | values,
        "#t": lists | values,
        "#p": st.just([HEX]) | values,
        "#tt": values,
    },
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Whole ones, and such with a field that is changed or gone."""
    kind = draw(st.sampled_from([0, 1, 5, 6, 62, 1059, 30023]))
    whole = texts.filter(_is_unicode)
    tags = draw(st.lists(st.lists(whole, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple))
    made = unsigned(draw(st.sampled_from(["alice", "bob"])), kind, tags, draw(whole))
    event: dict[str, Any] = json.loads(raw(made))
    changed = draw(st.none() | st.sampled_from(sorted(event)))
    if changed:
        event[changed] = draw(values)
    if draw(st.integers(0, 9)) == 0:
        del event[draw(st.sampled_from(sorted(event)))]
    return event


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def spelled(parts: object) -> bytes:
    return json.dumps(parts).encode()


messages = st.one_of(
    st.tuples(st.just("EVENT"), events()).map(spelled),
    st.lists(filters, max_size=3).map(lambda wanted: spelled(["REQ", "s", *wanted])),
    st.lists(filters, max_size=3).map(lambda wanted: spelled(["COUNT", "s", *wanted])),
    st.tuples(st.just("NEG-OPEN"), st.just("s"), filters, st.binary(max_size=40).map(bytes.hex)).map(spelled),
    st.tuples(st.just("NEG-MSG"), st.just("s"), st.binary(max_size=40).map(bytes.hex)).map(spelled),
    st.lists(values, max_size=4).flatmap(
        lambda rest: st.sampled_from(VERBS).map(lambda verb: spelled([verb, *rest]))
    ),
    values.map(spelled),
    st.sampled_from([line for seed in SEEDS for line in seed.split(b"\n")]),
    st.binary(max_size=60),
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message with a stretch of it replaced."""
    message: bytes = draw(messages)
    start = draw(st.integers(0, len(message)))
    end = min(len(message), start + draw(st.integers(0, 8)))
    return message[:start] + draw(st.binary(max_size=8)) + message[end:]


relaxed = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(st.lists(messages | damaged(), min_size=1, max_size=8))
def test_no_messages_bring_a_session_out_of_step(said: list[bytes]) -> None:
    feed(said)


@relaxed
@given(events())
def test_every_event_whose_id_can_be_read_gets_exactly_one_ok(event: dict[str, Any]) -> None:
    answers = Shell().receive(spelled(["EVENT", event]))
    oks = [answer for answer in answers if answer[0] == "OK"]
    if claimed_id(spelled(event)):
        assert [ok[1] for ok in oks] == [event["id"]]
    else:
        assert len(oks) + sum(answer[0] == "NOTICE" for answer in answers) == 1


@relaxed
@given(st.lists(filters | values, max_size=3), st.sampled_from(["REQ", "COUNT"]))
def test_every_question_with_an_id_ends_exactly_once(asked: list[object], verb: str) -> None:
    answers = Shell().receive(spelled([verb, "s", *asked]))
    assert [answer[:2] for answer in answers if answer[0] in ("EOSE", "CLOSED", "COUNT")] == [
        [answers[-1][0], "s"]
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_seeds_are_answered(seed: bytes) -> None:
    feed(seed.split(b"\n"))


def test_the_check_of_answers_can_fail() -> None:
    shell = Shell()
    shell.session.send(b'["NOTICE","without a prefix"]')
    with pytest.raises(AssertionError):
        shell.receive(b'["CLOSE","s"]')


@pytest.mark.soak
@pytest.mark.skipif(
    not FUZZER.exists(), reason="the fuzzer is not set up; do it with: make fuzz (x86-64 only)"
)
def test_coverage_guided(tmp_path: Path) -> None:
    """A wrong answer leaves its input in `tmp_path`, and libFuzzer says where."""
    command = [str(FUZZER), "-m", "tests.relay.fuzz_messages", "-max_total_time=600"]
    command += ["-rss_limit_mb=2048", f"-artifact_prefix={tmp_path}/"]
    fuzzer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert fuzzer.returncode == 0, fuzzer.stdout[-2000:] + fuzzer.stderr[-6000:]


def test_a_signed_event_is_taken_in_and_heard() -> None:
    shell = Shell()
    event = signed()
    answers = shell.receive(b'["REQ","s",{"limit":0}]') + shell.receive(b'["EVENT",' + raw(event) + b"]")
    assert [answer[0] for answer in answers] == ["EOSE", "EVENT", "OK"]
