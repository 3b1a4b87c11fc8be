"""Who is asked for what: rules one by one. Whole swarms are tried in `test_swarms.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.content.exchange.asking import (
    BENCH_S,
    MAX_WINDOW,
    MIN_WINDOW,
    PATIENCE_S,
    START_WINDOW,
    GivenUp,
    stock_id,
)
from meshconsole.content.exchange.bitswap import Message, Want
from meshconsole.content.exchange.wants import SCOUT_S, Wants
from meshconsole.content.formats.block import Block
from meshconsole.content.formats.cid import RAW, Cid
from meshconsole.core.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterable

GROUP = b"group"
BLOCKS = [Block.of(RAW, f"block {i}".encode()) for i in range(60)]
A, B, C = BLOCKS[:3]


def cids_of(blocks: Iterable[Block]) -> list[Cid]:
    return [block.cid for block in blocks]


def sent(wants: Wants, peer: str) -> Message:
    """Everything for one peer as one message."""
    messages = [message for name, message in wants.outbox() if name == peer]
    return Message(
        tuple(want for message in messages for want in message.wants),
        tuple(cid for message in messages for cid in message.cancels),
        full=any(message.full for message in messages),
    )


def asked(wants: Wants, peer: str) -> tuple[list[Cid], list[Cid]]:
    """(want-have, want-block) of the next messages to a peer."""
    message = sent(wants, peer)
    return [w.cid for w in message.wants if not w.block], [w.cid for w in message.wants if w.block]


def provider(wants: Wants, peer: str, now: float = 0.0) -> None:
    """Makes the peer a provider of the group by one block that it sends."""
    first = Block.of(RAW, b"first of " + peer.encode())
    wants.attach(peer, now)
    wants.want([first.cid], b"only " + peer.encode(), now)
    wants.want([first.cid], GROUP, now)
    wants.presences(peer, [first.cid], [], now)
    assert wants.blocks(peer, [first], now) == [first]
    wants.outbox()


def test_a_peer_that_may_not_hear_of_a_group_never_learns_what_is_wanted_of_it() -> None:
    wants = Wants()
    wants.attach("stranger", 0.0, may_hear=lambda group: group == b"open")
    wants.want([A.cid, B.cid], GROUP, 0.0)
    wants.want([B.cid, C.cid], b"open", 0.0)
    assert asked(wants, "stranger") == ([B.cid, C.cid], [])
    wants.handle_timer(SCOUT_S)
    assert asked(wants, "stranger")[0] == [B.cid, C.cid]
    # Who says to have it unasked is not asked for it either.
    wants.presences("stranger", [A.cid], [], SCOUT_S)
    wants.stocked("stranger", frozenset([stock_id(A.cid.multihash)]), SCOUT_S)
    assert asked(wants, "stranger") == ([], [])
    wants.close_group(GROUP, SCOUT_S)
    assert A.cid not in sent(wants, "stranger").cancels


def test_peers_are_asked_whether_they_have_it_and_one_is_asked_for_it() -> None:
    wants = Wants()
    wants.attach("p", 0.0)
    wants.attach("q", 0.0)
    wants.want([A.cid], GROUP, 0.0)
    assert dict(wants.outbox()) == {
        "p": Message((Want(A.cid, False),), full=True),
        "q": Message((Want(A.cid, False),), full=True),
    }
    wants.presences("q", [A.cid], [], 1.0)
    assert wants.outbox() == [("q", Message((Want(A.cid, True),)))]
    wants.presences("p", [A.cid], [], 1.0)
    assert wants.outbox() == []
    assert wants.blocks("q", [A], 2.0) == [A]
    assert wants.outbox() == [("p", Message(cancels=(A.cid,)))]
    assert wants.next_timer() is None


def test_a_provider_is_asked_at_once() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.attach("q", 0.0)
    wants.want([B.cid], GROUP, 0.0)
    assert asked(wants, "p") == ([], [B.cid])
    assert asked(wants, "q") == ([], [])


def test_who_had_the_first_block_too_shares_in_the_rest() -> None:
    wants = Wants()
    wants.attach("p", 0.0)
    wants.attach("q", 0.0)
    wants.want([A.cid], GROUP, 0.0)
    wants.presences("p", [A.cid], [], 0.0)
    wants.blocks("p", [A], 0.0)
    wants.presences("q", [A.cid], [], 0.0)  # crossed the cancel
    assert wants.providers(GROUP) == 2
    wants.outbox()
    wants.want(cids_of(BLOCKS[1:5]), GROUP, 0.0)
    messages = dict(wants.outbox())
    assert len(messages["p"].wants) == len(messages["q"].wants) == 2


def test_the_window_bounds_what_a_peer_owes() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.want(cids_of(BLOCKS), GROUP, 0.0)
    owed = asked(wants, "p")[1]
    assert START_WINDOW <= len(owed) < len(BLOCKS)
    wants.blocks("p", [BLOCKS[0]], 0.1)
    assert len(asked(wants, "p")[1]) == 2  # one for the block that came, one for having been quick
    now = 1.0
    waiting = [cid for cid in cids_of(BLOCKS) if cid != BLOCKS[0].cid]
    for block in BLOCKS[1:40]:
        now += 0.01
        wants.blocks("p", [block], now)
        waiting.remove(block.cid)
    assert len(wants._peers["p"].owes) == MAX_WINDOW
    for block in BLOCKS[40:]:
        now += 10.0
        wants.blocks("p", [block], now)
    assert wants._peers["p"].window == MIN_WINDOW


def test_dont_have_moves_the_want_to_another_provider() -> None:
    wants = Wants()
    provider(wants, "p")
    provider(wants, "q")
    wants.want([A.cid], GROUP, 0.0)
    (first,) = [name for name, _ in wants.outbox()]
    second = {"p": "q", "q": "p"}[first]
    wants.presences(first, [], [A.cid], 0.0)
    assert asked(wants, second) == ([], [A.cid])
    wants.presences(second, [], [A.cid], 0.0)
    assert wants.outbox() == []
    wants.presences(first, [A.cid], [], 0.0)  # it has come there meanwhile
    assert asked(wants, first) == ([], [A.cid])


def test_when_the_providers_lack_a_block_the_others_are_asked() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.attach("q", 0.0)
    wants.want([A.cid], GROUP, 0.0)
    wants.outbox()
    wants.presences("p", [], [A.cid], 0.0)
    assert asked(wants, "q") == ([A.cid], [])


def test_a_peer_that_goes_leaves_what_it_owed_to_others() -> None:
    wants = Wants()
    provider(wants, "p")
    provider(wants, "q")
    wants.want([A.cid, B.cid], GROUP, 0.0)
    owed = {name: [want.cid for want in message.wants] for name, message in wants.outbox()}
    wants.detach("p", 1.0)
    assert asked(wants, "q")[1] == owed["p"]
    wants.detach("q", 1.0)
    wants.detach("q", 1.0)
    assert wants.outbox() == []
    wants.attach("r", 2.0)
    assert set(asked(wants, "r")[0]) == {A.cid, B.cid}


def test_a_new_peer_is_tried_for_what_others_are_sending() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.want(cids_of(BLOCKS), GROUP, 0.0)
    wants.outbox()
    wants.attach("q", 1.0)
    probes, blocks = asked(wants, "q")
    assert probes
    assert not blocks
    wants.presences("q", probes[:1], [], 1.0)
    assert len(asked(wants, "q")[1]) == START_WINDOW


# Silence


def test_a_peer_that_promises_and_never_sends_is_given_up() -> None:
    wants = Wants()
    provider(wants, "liar")
    wants.want([A.cid], GROUP, 0.0)
    wants.outbox()
    provider(wants, "other", 1.0)
    assert wants.next_timer() == PATIENCE_S
    wants.handle_timer(PATIENCE_S - 0.1)
    assert wants.happened() == []
    wants.handle_timer(PATIENCE_S)
    assert wants.happened() == [GivenUp("liar", 1, PATIENCE_S)]
    assert asked(wants, "other") == ([], [A.cid])


def test_who_was_given_up_is_asked_again_only_if_there_is_no_other() -> None:
    wants = Wants()
    provider(wants, "liar")
    wants.want([A.cid], GROUP, 0.0)
    wants.handle_timer(PATIENCE_S)
    provider(wants, "other", PATIENCE_S)
    wants.blocks("other", [A], PATIENCE_S)
    now = PATIENCE_S + BENCH_S
    wants.handle_timer(now)
    wants.outbox()
    wants.want(cids_of(BLOCKS[1:30]), GROUP, now)
    assert {name for name, message in wants.outbox() if message.wants} == {"other"}
    wants.detach("other", now)
    assert asked(wants, "liar")[1]


def test_patience_doubles_so_that_a_slow_peer_gets_there() -> None:
    wants = Wants()
    provider(wants, "slow")
    wants.want([A.cid], GROUP, 0.0)
    now = PATIENCE_S
    wants.handle_timer(now)
    assert len(wants.happened()) == 1
    now += BENCH_S
    wants.handle_timer(now)
    assert A.cid in asked(wants, "slow")[1]
    wants.handle_timer(now + 1.9 * PATIENCE_S)
    assert wants.happened() == []
    assert wants.blocks("slow", [A], now + 1.95 * PATIENCE_S) == [A]


def test_a_block_that_comes_after_its_sender_was_given_up_is_welcome() -> None:
    wants = Wants()
    provider(wants, "slow")
    wants.want([A.cid, B.cid], GROUP, 0.0)
    wants.handle_timer(PATIENCE_S)
    wants.outbox()
    assert wants.blocks("slow", [A], PATIENCE_S + 1) == [A]
    assert asked(wants, "slow")[1] == [B.cid]  # and it is trusted again at once


def test_no_want_is_forgotten() -> None:
    wants = Wants()
    wants.attach("p", 0.0)
    wants.want([A.cid], GROUP, 0.0)
    wants.outbox()
    wants.presences("p", [], [A.cid], 0.0)
    assert wants.next_timer() == SCOUT_S
    wants.handle_timer(SCOUT_S)
    assert asked(wants, "p") == ([A.cid], [])
    wants.presences("p", [A.cid], [], SCOUT_S)
    assert asked(wants, "p") == ([], [A.cid])


def test_a_group_that_is_closed_is_cancelled_everywhere() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.want([A.cid, B.cid], GROUP, 0.0)
    wants.want([B.cid], b"other group", 0.0)
    wants.outbox()
    wants.close_group(GROUP, 0.0)
    assert sent(wants, "p").cancels == (A.cid,)
    wants.close_group(b"other group", 0.0)
    assert sent(wants, "p").cancels == (B.cid,)
    assert wants.next_timer() is None


def test_a_block_that_came_another_way_is_cancelled() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.want([A.cid], GROUP, 0.0)
    wants.outbox()
    wants.close([A.cid.multihash, b"other"], 0.0)
    assert sent(wants, "p").cancels == (A.cid,)


def test_a_want_opened_and_closed_at_once_is_not_sent() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.want([A.cid], GROUP, 0.0)
    wants.close_group(GROUP, 0.0)
    assert sent(wants, "p").wants == ()


# Blocks that nobody asked for


@pytest.mark.parametrize("is_attached", [True, False])
def test_unsolicited_blocks_are_refused(is_attached: bool) -> None:
    wants = Wants()
    if is_attached:
        provider(wants, "p")
    wants.want([A.cid], GROUP, 0.0)
    with pytest.raises(RemoteError) as error:
        wants.blocks("p" if is_attached else "stranger", [B], 0.0)
    assert error.value.code == "unsolicited-block"


def test_other_bytes_than_those_asked_for_are_refused() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.want([A.cid], GROUP, 0.0)
    wrong = Block.received(A.cid.prefix, A.data + b"!")
    with pytest.raises(RemoteError) as error:
        wants.blocks("p", [wrong], 0.0)
    assert error.value.code == "unsolicited-block"


def test_a_block_asked_of_one_peer_is_not_taken_from_another() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.attach("q", 0.0)
    wants.want([A.cid], GROUP, 0.0)
    with pytest.raises(RemoteError):
        wants.blocks("q", [A], 0.0)


def test_blocks_that_cross_a_cancel_are_dropped_in_silence_once() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.want([A.cid], GROUP, 0.0)
    wants.close_group(GROUP, 0.0)
    assert wants.blocks("p", [A], 0.0) == []
    with pytest.raises(RemoteError):
        wants.blocks("p", [A], 0.0)


def test_the_second_copy_of_what_was_asked_twice_is_dropped_in_silence() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.want([A.cid], GROUP, 0.0)
    wants.presences("p", [], [A.cid], 0.0)
    wants.presences("p", [A.cid], [], 0.0)
    assert [want.cid for want in sent(wants, "p").wants if want.block] == [A.cid, A.cid]
    assert wants.blocks("p", [A], 0.0) == [A]
    assert wants.blocks("p", [A], 0.0) == []


def test_nothing_is_hashed_for_a_peer_that_was_asked_for_nothing() -> None:
    wants = Wants()
    wants.attach("p", 0.0)
    with pytest.raises(RemoteError):
        wants.expect_blocks("p", 1)
    wants.want([A.cid], GROUP, 0.0)
    wants.expect_blocks("p", 1)
    with pytest.raises(RemoteError):
        wants.expect_blocks("p", 2)
    with pytest.raises(RemoteError):
        wants.expect_blocks("stranger", 1)


def test_what_a_peer_sends_over_a_new_link_was_asked_over_the_old_one() -> None:
    wants = Wants()
    provider(wants, "p")
    wants.want([A.cid, B.cid], GROUP, 0.0)
    wants.detach("p", 1.0)
    wants.close([B.cid.multihash], 1.0)
    wants.attach("p", 1.0)
    wants.expect_blocks("p", 2)
    assert wants.blocks("p", [A, B], 1.0) == [A]


def test_presences_of_others_mean_nothing() -> None:
    wants = Wants()
    wants.attach("p", 0.0)
    wants.presences("p", [A.cid], [B.cid], 0.0)
    wants.presences("stranger", [A.cid], [B.cid], 0.0)
    wants.want([A.cid], GROUP, 0.0)
    assert asked(wants, "p") == ([A.cid], [])


def test_who_was_found_to_have_a_block_is_asked_for_it_at_once() -> None:
    wants = Wants()
    wants.attach("p", 0.0)
    wants.attach("q", 0.0)
    wants.want([A.cid], b"before", 0.0)
    wants.outbox()
    wants.stocked("q", frozenset([stock_id(A.cid.multihash), stock_id(B.cid.multihash)]), 0.0)
    wants.want([B.cid, C.cid], GROUP, 0.0)
    assert asked(wants, "p")[0] == [C.cid]
    wants.presences("q", [], [B.cid], 0.0)  # it has gone there meanwhile
    assert asked(wants, "p")[0] == [B.cid]
    wants.stocked("stranger", frozenset(), 0.0)
    wants.detach("q", 0.0)
    assert wants._sources.stocks == {}
