"""Of two links between the same two devices one survives, and both sides choose the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.mesh.pairing import LinkFacts, keeps_newer

LOW, HIGH = "11" * 32, "99" * 32
ONE, TWO = b"link-one", b"link-two"


def facts(
    link_id: bytes, *, dialled: bool, boot: bytes = b"bootboot", dropped: tuple[bytes, ...] = ()
) -> LinkFacts:
    return LinkFacts(link_id, dialled, boot, dropped)


def test_of_two_dials_at_once_that_of_the_lower_npub_survives() -> None:
    mine, theirs = facts(ONE, dialled=True), facts(TWO, dialled=False)
    assert not keeps_newer(mine, theirs, LOW, HIGH)
    assert keeps_newer(theirs, mine, LOW, HIGH)
    assert keeps_newer(mine, theirs, HIGH, LOW)
    assert not keeps_newer(theirs, mine, HIGH, LOW)


def test_a_peer_that_was_restarted_has_no_old_link() -> None:
    old = facts(ONE, dialled=True)
    assert keeps_newer(old, facts(TWO, dialled=False, boot=b"newboot!"), LOW, HIGH)


def test_a_link_that_the_peer_has_lost_gives_way() -> None:
    old = facts(ONE, dialled=True)
    assert keeps_newer(old, facts(TWO, dialled=False, dropped=(ONE,)), LOW, HIGH)


def test_a_link_that_either_side_holds_for_silent_gives_way_on_both_sides() -> None:
    """One side names it in its Hello; both know what was said, so both come to the same answer."""
    for me, peer in ((LOW, HIGH), (HIGH, LOW)):
        silent = facts(ONE, dialled=me == LOW)
        fresh = facts(TWO, dialled=me == LOW, dropped=(ONE,))
        assert keeps_newer(silent, fresh, me, peer)
        assert not keeps_newer(fresh, silent, me, peer)


@given(st.booleans(), st.booleans(), st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8))
def test_both_sides_choose_the_same_in_either_order(
    low_dialled_one: bool, low_dialled_two: bool, one: bytes, two: bytes
) -> None:
    if one == two:
        return
    survivors = set()
    for me, peer in ((LOW, HIGH), (HIGH, LOW)):
        a = facts(one, dialled=low_dialled_one == (me == LOW))
        b = facts(two, dialled=low_dialled_two == (me == LOW))
        for older, newer in ((a, b), (b, a)):
            survivors.add(newer.id if keeps_newer(older, newer, me, peer) else older.id)
    assert len(survivors) == 1
