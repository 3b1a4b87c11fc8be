"""Each cause is named by what proves it, and by nothing less."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.mesh.reach.diagnosis import AddressSeen, LinkSeen, Seen, diagnose

AT = "10.0.0.2:7447"
GOOD_LINK = LinkSeen("websocket", AT, answers=True, is_heard=True)
GOOD_ADDRESS = AddressSeen(AT, "open", answers_alone=True, answers_all=True)
SILENT = AddressSeen(AT, "silent")


def seen(**values: Any) -> Seen:  # noqa: ANN401 - fields of Seen
    return Seen("bravo", "b" * 64, **{"is_member": True, **values})


PROOFS = [
    ("radio-silence", seen(silence="ours")),
    ("radio-silence", seen(silence="theirs", addresses=(SILENT,))),
    ("revoked", seen(was_removed=True)),
    ("revoked", seen(addresses=(AddressSeen(AT, "open", "refuses-us"),))),
    ("other-team", seen(addresses=(AddressSeen(AT, "open", "stranger"),))),
    ("other-team", seen(is_member=False, strangers=(AT,))),
    ("one-way", seen(links=(LinkSeen("websocket", AT, answers=False, is_heard=True),), addresses=(SILENT,))),
    ("one-way", seen(addresses=(SILENT,), is_heard=True)),
    ("one-way", seen(addresses=(AddressSeen(AT, "unreachable"),), said_deaf=True)),
    ("port-blocked", seen(addresses=(AddressSeen(AT, "silent", answers_alone=True, answers_all=True),))),
    ("port-blocked", seen(addresses=(AddressSeen(AT, "refused", answers_all=True),))),
    (
        "port-blocked",
        seen(
            addresses=(AddressSeen(AT, "silent", is_its_own=False, answers_all=True),), is_last_missing=True
        ),
    ),
    (
        # Known by an address of the link (IPv6) only, at which nothing is asked by UDP.
        "port-blocked",
        seen(
            addresses=(
                AddressSeen("[fe80::1%lan]:7447", "silent"),
                AddressSeen(AT, "silent", is_its_own=False, answers_all=True, is_marked=True),
            ),
            is_last_missing=True,
            via=("hub",),
        ),
    ),
    ("revoked", seen(addresses=(AddressSeen(AT, "open", "refuses-us", is_its_own=False),))),
    (
        "dead-turn",
        seen(addresses=(SILENT,), has_turn=True, same_network=False, via=("hub",)),
    ),
    (
        "multicast-filtered",
        seen(links=(GOOD_LINK,), addresses=(AddressSeen(AT, "open", answers_alone=True),)),
    ),
    ("clock", seen(links=(GOOD_LINK,), addresses=(GOOD_ADDRESS,), clock_offset_s=-7200.0)),
]

UNPROVEN = [
    seen(links=(GOOD_LINK,), addresses=(GOOD_ADDRESS,), clock_offset_s=0.3),
    seen(links=(GOOD_LINK,), addresses=(GOOD_ADDRESS,), clock_offset_s=59.0),
    # Off, or a firewall that drops everything: nothing of it is heard.
    seen(addresses=(SILENT,)),
    seen(addresses=(AddressSeen(AT, "unreachable"),)),
    # Something of another team is near, or it may be another device of this one.
    seen(
        addresses=(SILENT, AddressSeen("10.0.0.9:7447", "silent", is_its_own=False, answers_all=True)),
        is_last_missing=True,
    ),
    seen(
        addresses=(
            SILENT,
            AddressSeen("10.0.0.9:7447", "silent", is_its_own=False, answers_all=True, is_marked=True),
        ),
    ),
    # The machine runs, meshconsole does not.
    seen(addresses=(AddressSeen(AT, "refused"),)),
    seen(),
    seen(is_member=False),
    # Found on the network: it may be anybody else.
    seen(addresses=(AddressSeen(AT, "silent", is_its_own=False, answers_all=True),)),
    seen(addresses=(AddressSeen(AT, "open", "stranger", is_its_own=False),)),
    # The TURN server is dead, and so may the peer be.
    seen(addresses=(SILENT,), has_turn=True, same_network=False),
    # On one network no TURN server is needed.
    seen(addresses=(SILENT,), has_turn=True, same_network=True, via=("hub",)),
    seen(addresses=(SILENT,), has_turn=True, turn_answers=True, same_network=False, via=("hub",)),
    # A router does not pass on what is said to all.
    seen(links=(GOOD_LINK,), addresses=(AddressSeen(AT, "open", answers_alone=True, on_own_network=False),)),
    # A question to all goes unanswered, but what it says to all arrives.
    seen(
        links=(GOOD_LINK,),
        addresses=(AddressSeen(AT, "open", answers_alone=True),),
        beacons_now=("broadcast", "multicast-4"),
    ),
    # Two nodes on one machine: no network is between them.
    seen(links=(GOOD_LINK,), addresses=(AddressSeen("127.0.0.1:7448", "open", answers_alone=True),)),
    # mDNS is switched off over there: neither question is answered.
    seen(links=(GOOD_LINK,), addresses=(AddressSeen(AT, "open"),)),
    # One silent link beside a good one.
    seen(links=(GOOD_LINK, LinkSeen("webrtc", AT, answers=False, is_heard=True)), addresses=(GOOD_ADDRESS,)),
]


@pytest.mark.parametrize(("cause", "proof"), PROOFS)
def test_what_is_proven_has_its_name(cause: str, proof: Seen) -> None:
    diagnosis = diagnose(proof)
    assert diagnosis.cause == cause
    assert diagnosis.sentence.startswith(("bravo", "This node", "Where bravo", "A device"))


@pytest.mark.parametrize("observed", UNPROVEN)
def test_what_is_not_proven_has_none(observed: Seen) -> None:
    diagnosis = diagnose(observed)
    assert diagnosis.cause == ""
    assert diagnosis.sentence


def test_all_that_was_tried_is_told() -> None:
    told = "\n".join(diagnose(PROOFS[6][1]).evidence)
    assert "did not answer an echo, it was heard" in told
    assert "TCP silent" in told


addresses = st.builds(
    AddressSeen,
    st.just(AT),
    st.sampled_from(["open", "refused", "silent", "unreachable"]),
    st.sampled_from(["", "member", "stranger", "refuses-us", "broken"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(addresses, max_size=4), st.booleans(), st.booleans(), st.booleans())
def test_a_device_that_answers_on_a_link_is_never_called_unreachable(
    found: list[AddressSeen], has_turn: bool, same_network: bool, said_deaf: bool
) -> None:
    observed = seen(
        links=(GOOD_LINK,),
        addresses=tuple(found),
        has_turn=has_turn,
        same_network=same_network,
        said_deaf=said_deaf,
    )
    diagnosis = diagnose(observed)
    assert diagnosis.is_linked
    assert diagnosis.cause in ("", "multicast-filtered")
