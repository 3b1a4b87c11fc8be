"""Whatever bytes arrive, the answer is a refusal in words: never another exception, never acceptance."""

from __future__ import annotations

from functools import cache

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from meshconsole.core.errors import Refused
from meshconsole.core.event import Event, Tags
from meshconsole.core.kinds import EPOCH_GRANT, FILE_MANIFEST, KEY_BUNDLE, PROPOSAL, ROSTER_ENTRY, TEAM_NOTE
from meshconsole.crypto.encoding import b64
from meshconsole.crypto.sealing import pad, seal
from meshconsole.team.entries import MAX_CONTENT, read_entry
from meshconsole.team.files import FileEntry
from meshconsole.team.invites import Invite, InviteBook, decode, encode
from meshconsole.team.notes import MAX_NOTE_BYTES
from meshconsole.team.ops import MAX_OPS, MAX_PARENTS, Policy
from meshconsole.team.sealed import _context
from tests.team.devices import NOW, Device, entries, founder, grants

ANY_TEXT = st.text(st.characters(), max_size=300) | st.just("\ud800")
ANY_TAGS = st.lists(st.lists(ANY_TEXT, max_size=4).map(tuple), max_size=4).map(tuple)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)


@cache
def device() -> Device:
    return founder()


def event(kind: int, content: str, tags: Tags = (("pqsig", "1", "x"),)) -> Event:
    return Event("0" * 64, device().npub, NOW, kind, tags, content, "0" * 128)


def body(**changes: object) -> str:
    """A roster entry's content, well formed but for the changes."""
    whole: dict[str, object] = {
        "v": 1,
        "suite": 1,
        "parents": ["0" * 64],
        "ops": [{"op": "policy", "rotate_days": 3}],
    }
    return msgspec.json.encode(whole | changes).decode()


@settings(max_examples=60)
@given(
    st.sampled_from((ROSTER_ENTRY, KEY_BUNDLE, EPOCH_GRANT, PROPOSAL, TEAM_NOTE, 1, 5)),
    ANY_TEXT,
    ANY_TAGS,
    HEX | ANY_TEXT,
)
def test_any_event_gets_a_verdict(kind: int, content: str, tags: Tags, key: str) -> None:
    team = device().team
    verdict = team.accept(Event("0" * 64, key, NOW, kind, tags, content, "0" * 128))
    assert not verdict.accepted
    assert verdict.sentence
    assert len(team._roster) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=80)
@given(st.sampled_from(("v", "suite", "parents", "ops", "more")), JSON)
def test_a_roster_entry_with_one_strange_field_is_refused(field: str, value: object) -> None:
    assume(not (field == "parents" and value == []))
    assume(not (field in ("v", "suite") and value == 1))
    with pytest.raises(Refused):
        read_entry(event(ROSTER_ENTRY, body(**{field: value})))


OPS: list[object] = [
    {"op": "dance"},
    {"op": "policy", "rotate_days": 0},
    {"op": "policy", "rotate_days": 3, "colour": 1},
    {"op": "policy", "history": "none"},
    {"op": "policy", "history": None, "rotate_days": 3},
    {"op": "remove", "npub": "AB" * 32},
    {"op": "remove", "npub": "ab" * 31},
    {"op": "remove", "npub": "ab" * 33},
    {"op": "remove", "npub": "ab" * 32 + "\n"},
    {"op": "add", "npub": "ab" * 32, "name": "", "role": "member", "bundle": "ab" * 32},
    {"op": "add", "npub": "ab" * 32, "name": "n" * 65, "role": "member", "bundle": "ab" * 32},
    {"op": "add", "npub": "ab" * 32, "name": "n", "role": "root", "bundle": "ab" * 32},
    {"op": "add", "npub": "ab" * 32, "name": "n", "role": "member"},
    {"op": "role", "npub": "ab" * 32, "role": "owner"},
    {"op": "epoch", "n": 0, "commit": "ab" * 32},
    {"op": "epoch", "n": 2.0, "commit": "ab" * 32},
    {"op": "epoch", "n": 1 << 40, "commit": "ab" * 32},
    {"op": "epoch", "n": 2, "commit": "ab" * 32, "links": []},
    {"op": "epoch", "n": 2, "commit": "ab" * 32, "links": [{"kid": "ab" * 8, "sealed": "A" * 300}]},
    {"op": "epoch", "n": 2, "commit": "ab" * 32, "links": [{"kid": "ab" * 8, "sealed": "AAAA"}] * 9},
    [],
    "policy",
]


@pytest.mark.parametrize("op", OPS)
def test_strange_operations_make_the_entry_invalid(op: object) -> None:
    with pytest.raises(Refused):
        read_entry(event(ROSTER_ENTRY, body(ops=[op])))


GOOD = body()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "null",
        "[]",
        GOOD + " ",
        " " + GOOD,
        GOOD.replace('"v":1', '"v":1.0'),
        GOOD.replace('"v":1', '"v":1,"v":1'),
        GOOD.replace('"suite"', '"\\u0073uite"'),
        GOOD.replace('{"op":"policy","rotate_days":3}', '{"rotate_days":3,"op":"policy"}'),
        "[" * 20_000,
        '{"ops":' * 5_000,
        '{"v":1,"suite":1,"parents":[],"ops":' + "[" * 30_000,
        "x" * (MAX_CONTENT + 1),
        body(parents=["0" * 64] * 2),
        body(parents=["f" * 64, "0" * 64]),
        body(parents=[f"{k:064x}" for k in range(MAX_PARENTS + 1)]),
        body(ops=[]),
        body(ops=[{"op": "policy", "rotate_days": 3}] * (MAX_OPS + 1)),
        "\ud800",
    ],
    ids=range(19),
)
def test_hostile_shapes_of_an_entry_are_refused(content: str) -> None:
    assert read_entry(event(ROSTER_ENTRY, GOOD))[0].ops == (Policy(rotate_days=3),)
    with pytest.raises(Refused):
        read_entry(event(ROSTER_ENTRY, content))


def test_an_entry_that_is_well_formed_but_too_large_is_refused() -> None:
    def adds(count: int) -> str:
        op = {"op": "add", "npub": "ab" * 32, "name": "n" * 64, "role": "observer", "bundle": "ab" * 32}
        return body(ops=[op] * count)

    assert len(read_entry(event(ROSTER_ENTRY, adds(200)))[0].ops) == 200
    assert len(adds(MAX_OPS)) > MAX_CONTENT
    with pytest.raises(Refused):
        read_entry(event(ROSTER_ENTRY, adds(MAX_OPS)))


@pytest.mark.parametrize("tags", [(), ((),), (("pqsig",), ("pqsig",)), (("e", "x"), ("pqsig", "1", "x"))])
def test_an_entry_with_other_tags_than_one_signature_is_refused(tags: Tags) -> None:
    assert (
        not device().team.accept(event(ROSTER_ENTRY, body(parents=[device().team.genesis.id]), tags)).accepted
    )


@settings(max_examples=60)
@given(ANY_TEXT, ANY_TAGS)
def test_any_sealed_event_is_refused_in_words(content: str, tags: Tags) -> None:
    team = device().team
    good = team.seal_note("x", NOW).tags
    for kind in (TEAM_NOTE, FILE_MANIFEST):
        for marks in (tags, good):
            for opens in (team.open_note, team.open_manifest):
                with pytest.raises(Refused):
                    opens(event(kind, content, marks))


@settings(max_examples=60)
@given(st.binary(max_size=400) | ANY_TEXT.map(lambda text: text.encode(errors="replace")))
def test_a_member_who_seals_rubbish_is_refused_in_words(inside: bytes) -> None:
    """Whoever holds the epoch's key can seal anything at all."""
    me, team = device().me, device().team
    key = team.keys.held(team._writing())
    for kind, opens in ((TEAM_NOTE, team.open_note), (FILE_MANIFEST, team.open_manifest)):
        for plain in (inside, pad(inside)):
            content = b64(seal(key.derive("event"), _context(key, kind, me.npub), plain))
            with pytest.raises(Refused):
                opens(me.sign(kind, team.seal_note("x", NOW).tags, content, NOW))


@pytest.mark.parametrize(
    "inside",
    [
        "[" * 50_000,
        '{"id":"\ud800"}'.encode(errors="surrogatepass").decode("latin-1"),
        '{"id":"\\ud800","pubkey":"","created_at":1,"kind":1,"tags":[],"content":"","sig":""}',
        '{"id":"","pubkey":"","created_at":1e99,"kind":1,"tags":[],"content":"","sig":""}',
    ],
    ids=range(4),
)
def test_hostile_json_inside_a_seal_is_refused(inside: str) -> None:
    me, team = device().me, device().team
    key = team.keys.held(team._writing())
    plain = pad(inside.encode("latin-1", errors="replace"))
    content = b64(seal(key.derive("event"), _context(key, TEAM_NOTE, me.npub), plain))
    with pytest.raises(Refused):
        team.open_note(me.sign(TEAM_NOTE, team.seal_note("x", NOW).tags, content, NOW))


@settings(max_examples=40)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=800))
def test_every_text_that_is_sent_is_read_back(text: str) -> None:
    team = device().team
    if text.strip():
        assert team.open_note(team.seal_note(text, NOW)).text == text


def test_the_longest_note_is_sent_and_a_longer_one_is_refused() -> None:
    team = device().team
    longest = "\u20ac" * (MAX_NOTE_BYTES // 3)
    assert team.open_note(team.seal_note(longest, NOW)).text == longest
    quotes = '"\n' * (MAX_NOTE_BYTES // 2)  # two bytes each inside JSON
    assert team.open_note(team.seal_note(quotes, NOW)).text == quotes
    with pytest.raises(Refused, match="control characters"):
        team.seal_note("\x01" * MAX_NOTE_BYTES, NOW)  # six bytes each
    with pytest.raises(Refused, match="16384 are the most"):
        team.seal_note(longest + "\u20ac", NOW)


@settings(max_examples=40)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255),
    st.integers(0, 1 << 42),
    st.integers(0, 1 << 42),
)
def test_every_manifest_is_read_back(name: str, size: int, sealed_size: int) -> None:
    team = device().team
    entry = FileEntry("bafkreiexample", name, size, sealed_size, "text/plain", team.object_key())
    assert team.open_manifest(team.seal_manifest(entry, NOW)) == entry


def test_sizes_leak_in_few_steps_only() -> None:
    """Every note of up to 140 bytes looks alike, and there are few sizes up to the longest."""
    team = device().team
    sizes = [len(team.seal_note("a" * n, NOW).content) for n in (1, 10, 70, 140)]
    assert len(set(sizes)) == 1
    assert len({len(team.seal_note("a" * n, NOW).content) for n in range(1, 4000, 40)}) < 40


@given(ANY_TEXT, st.integers(0, (1 << 32) - 1))
@settings(max_examples=100)
def test_an_address_is_packed_or_refused(address: str, expires: int) -> None:
    invite = Invite(bytes(32), bytes(32), bytes(16), expires, (address,))
    try:
        text = encode(invite)
    except Refused:
        return
    assert decode(text).expires == expires


NO_ADDRESSES = [
    ":",
    "host",
    "host:",
    ":80",
    "host:0",
    "host:65536",
    "host:-1",
    "h\u00f6st:1",
    "[::1]",
    "host:" + chr(0x661),
    "user@host:1",
    "host:99999999999999999999",
]


@pytest.mark.parametrize("address", ["", "ho st:1", "host:1\n", "x" * 64 + ":1", *NO_ADDRESSES])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Refused, match="not an address"):
        encode(Invite(bytes(32), bytes(32), bytes(16), NOW, (address,)))


def test_an_expiry_that_does_not_fit_is_refused() -> None:
    with pytest.raises(Refused, match="2105"):
        device().team.make_invite([], NOW, 1 << 33)


@given(st.binary(min_size=80, max_size=123))
@settings(max_examples=100)
def test_any_bytes_with_a_good_checksum_are_an_invite_or_refused(data: bytes) -> None:
    import base64

    from meshconsole.team.invites import PREFIX, _checksum

    raw = b"\x01" + data
    text = PREFIX + base64.b32encode(raw + _checksum(raw)).decode().rstrip("=")
    try:
        invite = decode(text)
    except Refused:
        return
    assert encode(invite) == text


def test_control_events_of_this_device_are_what_it_accepts() -> None:
    made = founder()
    events = list(made.log.values())
    assert len(entries(events)) == len(grants(events)) == 1
    assert all(made.team.accept(known).accepted for known in events)
    assert InviteBook().expects_anybody(NOW) is False
