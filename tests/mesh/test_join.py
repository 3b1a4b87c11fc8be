"""Joining: with real teams, over real connections; and what is said to those who may not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core.errors import MeshconsoleError, Refused, RemoteError, Unavailable
from meshconsole.core.event import decode_event, encode_event
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.crypto.providers import default_provider
from meshconsole.mesh import join as join_module
from meshconsole.mesh import trying
from meshconsole.mesh.happenings import JoinAnswered
from meshconsole.mesh.join import Ask, Introduce, _Conversation, decode_word, join
from meshconsole.mesh.links.frames import HEADER, Channel
from meshconsole.mesh.links.websocket import dial
from meshconsole.team.invites import proof
from meshconsole.team.state import Team
from tests.mesh.devices import credentials, identity
from tests.mesh.link_pair import CountingMeter
from tests.mesh.memory_pipe import memory_pipes
from tests.mesh.nodes import TestNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from meshconsole.core.event import Event
    from meshconsole.mesh.links.pipe import Pipe
    from meshconsole.team.invites import AdmittedRole, Invite


def now() -> int:
    return int(time.time())


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[TestNode]:
    """Alice's node, with a team of her own."""
    team, events = Team.found(identity("alice"), "Rescue", "alice", now(), default_provider())
    async with TestNode("alice", team, tmp_path) as node:
        assert all(v.accepted for v in await node.relay.publish_many(events))
        yield node


def invite(node: TestNode, *, lifetime_s: int = 600, role: AdmittedRole = "member") -> Invite:
    team = node.membership.team
    assert isinstance(team, Team)
    made, _ = team.make_invite([node.address], now(), lifetime_s)
    node.membership.book.offer(made, role)
    return made


async def ask(
    made: Invite,
    name: str = "bob",
    device: str = "bob",
    connect: Callable[[str], Awaitable[Pipe]] = lambda address: dial(address, "/join"),
) -> list[Event]:
    return await join(
        made,
        name,
        identity(device),
        credentials(device),
        meter=CountingMeter(),
        admit=lambda _kind, _remote: ACCEPTED,
        now=now(),
        connect=connect,
    )


async def test_a_device_with_an_invite_joins_links_up_and_reads(alice: TestNode, tmp_path: Path) -> None:
    async with TestNode("bob", None, tmp_path) as bob:
        events = await bob.mesh.join(invite(alice), "bob")
        team = Team.load(identity("bob"), events, default_provider())
        assert team is not None
        assert team.name == "Rescue"
        assert team.my_role == "member"
        await bob.relay.publish_many(list(events), via="join", trusted=True)
        bob.membership.team = team
        bob.mesh.recheck()
        await bob.until_linked(alice)
        await alice.until_linked(bob)
        assert isinstance(alice.membership.team, Team)
        note = alice.membership.team.seal_note("meet at the bridge", now())
        await alice.relay.publish(note)
        await bob.until_has(note)
        assert team.open_note(note).text == "meet at the bridge"
        answered = [h for h in alice.happenings if isinstance(h, JoinAnswered)]
        assert [(a.name, a.npub, a.accepted) for a in answered] == [("bob", bob.npub, True)]
        assert alice.membership.saves == 1


async def test_a_lost_answer_can_be_asked_for_again_but_by_nobody_else(alice: TestNode) -> None:
    made = invite(alice)
    first = await ask(made)
    again = await ask(made)
    assert Team.load(identity("bob"), again, default_provider()) is not None
    assert {e.id for e in first if e.kind == 4201} == {e.id for e in again if e.kind == 4201}
    with pytest.raises(Refused, match="used already"):
        await ask(made, "carol", "carol")


async def test_a_relay_joins_without_a_key(alice: TestNode) -> None:
    events = await ask(invite(alice, role="relay"), "pi", "pi")
    team = Team.load(identity("pi"), events, default_provider())
    assert team is not None
    assert team.my_role == "relay"
    assert not any(e.kind == 34202 and e.tag("p") == identity("pi").npub for e in events)


async def test_nobody_is_heard_while_no_invite_is_out(alice: TestNode) -> None:
    team = alice.membership.team
    assert isinstance(team, Team)
    made, _ = team.make_invite([alice.address], now(), 600)
    with pytest.raises(Unavailable, match="no invite out"):
        await ask(made)


async def test_an_unknown_a_revoked_and_an_expired_invite_are_refused_in_words(alice: TestNode) -> None:
    made = invite(alice)
    team = alice.membership.team
    assert isinstance(team, Team)
    unknown, _ = team.make_invite([alice.address], now(), 600)
    with pytest.raises(Refused, match="made no such invite"):
        await ask(unknown)
    book = alice.membership.book
    invite(alice)
    assert book.revoke(next(o.id for o in book.open_invites(now()) if o.secret == made.secret))
    with pytest.raises(Refused, match="revoked"):
        await ask(made)
    expired = invite(alice, lifetime_s=-1)
    with pytest.raises(Refused, match="expired"):
        await ask(expired)
    refusals = [h.sentence for h in alice.happenings if isinstance(h, JoinAnswered) and not h.accepted]
    assert len(refusals) == 3
    assert team.member(identity("bob").npub) is None


async def test_another_device_at_the_address_of_the_invite_is_not_believed(tmp_path: Path) -> None:
    mallory_team, _ = Team.found(identity("mallory"), "Rescue", "mallory", now(), default_provider())
    alice_team, _ = Team.found(identity("alice"), "Rescue", "alice", now(), default_provider())
    async with TestNode("mallory", mallory_team, tmp_path) as mallory:
        invite(mallory)
        made, _ = alice_team.make_invite([mallory.address], now(), 600)
        with pytest.raises(Unavailable, match="not the device that made the invite"):
            await ask(made)
        assert not any(h.accepted for h in mallory.happenings if isinstance(h, JoinAnswered))


async def test_an_address_where_nobody_answers_does_not_spoil_the_next(alice: TestNode) -> None:
    team = alice.membership.team
    assert isinstance(team, Team)
    made, _ = team.make_invite(["127.0.0.1:1", alice.address], now(), 600)
    alice.membership.book.offer(made, "member")
    assert Team.load(identity("bob"), await ask(made), default_provider()) is not None


async def test_when_no_address_works_each_is_named_with_its_reason() -> None:
    team, _ = Team.found(identity("alice"), "Rescue", "alice", now(), default_provider())
    made, _ = team.make_invite(["127.0.0.1:1", "127.0.0.1:2"], now(), 600)
    with pytest.raises(Unavailable) as caught:
        await ask(made)
    assert "127.0.0.1:1 cannot be reached: connection refused" in caught.value.sentence
    assert "127.0.0.1:2 cannot be reached: connection refused" in caught.value.sentence


async def test_an_invite_without_addresses_and_a_full_node_are_refused_before_dialling() -> None:
    team, _ = Team.found(identity("alice"), "Rescue", "alice", now(), default_provider())
    made, _ = team.make_invite([], now(), 600)
    with pytest.raises(Refused, match="names no address"):
        await ask(made)
    made, _ = team.make_invite(["127.0.0.1:1"], now(), 600)

    def full(_kind: str, _remote: str) -> Verdict:
        return refuse("restricted", "all 64 connections are in use")

    with pytest.raises(Refused, match="64 connections"):
        await join(
            made, "bob", identity("bob"), credentials("bob"), meter=CountingMeter(), admit=full, now=now()
        )


async def knock(node: TestNode, device: str = "bob") -> tuple[_Conversation, bytes]:
    pipe = await dial(node.address, "/join")
    talk = _Conversation(pipe, credentials(device), CountingMeter(), server=False)
    exporter = await talk.shake_hands()
    assert isinstance(await talk.hear(), Introduce)
    return talk, exporter


async def test_a_bundle_of_another_device_is_refused(alice: TestNode) -> None:
    made = invite(alice)
    talk, exporter = await knock(alice, "mallory")
    stolen = encode_event(identity("bob").bundle_event(now()))
    await talk.say(Ask("bob", stolen, proof(made.secret, exporter, identity("bob").bundle_hash)))
    answer = await talk.hear()
    assert isinstance(answer, join_module.Sorry)
    assert "not that of the device" in answer.sentence
    await talk.end()


async def test_a_proof_from_another_connection_is_worth_nothing(alice: TestNode) -> None:
    made = invite(alice)
    bundle = encode_event(identity("bob").bundle_event(now()))
    first, exporter = await knock(alice)
    second, _ = await knock(alice)
    overheard = proof(made.secret, exporter, identity("bob").bundle_hash)
    await second.say(Ask("bob", bundle, overheard))
    answer = await second.hear()
    assert isinstance(answer, join_module.Sorry)
    assert "made no such invite" in answer.sentence
    await first.end()
    await second.end()


async def test_the_secret_never_crosses_the_connection(alice: TestNode) -> None:
    made = invite(alice)
    heard: list[bytes] = []
    real = decode_word

    def listening(payload: bytes) -> object:
        heard.append(payload)
        return real(payload)

    join_module.decode_word = listening  # type: ignore[assignment]
    try:
        await ask(made)
    finally:
        join_module.decode_word = real
    assert len(heard) >= 3
    assert not any(made.secret in payload for payload in heard)


@pytest.mark.parametrize(
    "junk",
    [
        HEADER.pack(4, Channel.EVENTS) + b"\xc1\xc1\xc1\xc1",
        HEADER.pack(0xFFFFFF, Channel.EVENTS),
        HEADER.pack(8, Channel.EVENTS) + b"\x92\xa3ask\xa1x\xc0",
    ],
    ids=["garbage", "oversized", "truncated"],
)
async def test_rubbish_is_answered_and_ends_the_attempt(alice: TestNode, junk: bytes) -> None:
    invite(alice)
    talk, _ = await knock(alice)
    await talk._secure.send(junk)
    answer = await talk.hear()
    assert isinstance(answer, join_module.Sorry)
    with pytest.raises(MeshconsoleError):
        await talk.hear()
    await talk.end()


async def test_who_says_nothing_is_sent_away(alice: TestNode, monkeypatch: pytest.MonkeyPatch) -> None:
    invite(alice)
    monkeypatch.setattr(join_module, "ATTEMPT_S", 0.5)
    talk, _ = await knock(alice)
    answer = await talk.hear()
    assert isinstance(answer, join_module.Sorry)
    assert "took more than" in answer.sentence
    await talk.end()


def invite_to(node: TestNode, *addresses: str) -> Invite:
    made = invite(node)
    return msgspec.structs.replace(made, addresses=addresses)


async def test_an_address_that_is_dead_does_not_hold_up_the_one_that_lives(
    alice: TestNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "HEAD_START_S", 0.0)
    ended: list[str] = []

    async def connect(address: str) -> Pipe:
        if address == alice.address:
            return await dial(address, "/join")
        try:
            return await asyncio.Future()
        finally:
            ended.append(address)

    assert await ask(invite_to(alice, "192.0.2.1:1", alice.address, "192.0.2.2:1"), connect=connect)
    assert ended[0] == "192.0.2.1:1"


async def test_a_slow_address_is_waited_for_while_others_fail(
    alice: TestNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "HEAD_START_S", 0.0)
    failed = asyncio.Event()

    async def connect(address: str) -> Pipe:
        if address != alice.address:
            failed.set()
            raise Unavailable("Nobody there.")
        await failed.wait()
        return await dial(address, "/join")

    assert await ask(invite_to(alice, alice.address, "192.0.2.1:1"), connect=connect)


async def test_what_connected_too_late_is_closed(alice: TestNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "HEAD_START_S", 0.0)
    pipes = [memory_pipes()[0] for _ in range(2)]

    both = asyncio.Event()

    async def connect(address: str) -> Pipe:
        if address == "1":
            both.set()
        await both.wait()
        return pipes[int(address)]

    async with contextlib.aclosing(trying.tried(("0", "1"), connect)) as found:
        await anext(found)
        await asyncio.sleep(0)
    assert sum(pipe.ended is not None for pipe in pipes) == 1


async def test_joining_ends_and_says_when(alice: TestNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join_module, "JOIN_S", 0.0)

    async def connect(_address: str) -> Pipe:
        return await asyncio.Future()

    with pytest.raises(Unavailable, match="gave up after 0 s"):
        await ask(invite(alice), connect=connect)


async def test_one_host_cannot_try_without_end(alice: TestNode) -> None:
    team = alice.membership.team
    assert isinstance(team, Team)
    invite(alice)
    wrong, _ = team.make_invite([alice.address], now(), 600)
    outcomes = [await asyncio.gather(ask(wrong), return_exceptions=True) for _ in range(10)]
    sentences = [str(outcome[0]) for outcome in outcomes]
    assert sum("made no such invite" in s for s in sentences) <= 7
    assert "Too many attempts" in sentences[-1]


async def test_a_nameless_device_is_refused(alice: TestNode) -> None:
    with pytest.raises(Refused, match="no name"):
        await ask(invite(alice), "   ")


@given(st.binary(max_size=400))
def test_words_from_outside_do_no_worse_than_a_remote_error(data: bytes) -> None:
    try:
        word = decode_word(data)
    except RemoteError:
        return
    assert decode_word(join_module._encode(word)) == word


def test_an_event_that_is_none_is_a_remote_error() -> None:
    with pytest.raises(RemoteError):
        join_module._decode(b"[1,2,3]")
    event = identity("bob").bundle_event(now())
    assert join_module._decode(encode_event(event)) == decode_event(encode_event(event))
