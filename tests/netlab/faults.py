"""The faults that the mesh must survive, and what is promised for each. The order is that of the table."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    what: str
    promise: str


FAULTS = {
    "found": Fault("two nodes start on one network", "linked within 5 s"),
    "link-local": Fault("a bare cable: no address but those of the link (IPv6)", "linked within 5 s"),
    "ladder": Fault(
        "nine rungs from good Wi-Fi to absurd on one side, 200 events of 400 B on each",
        "all, exactly once; p95 <= 2 s to the sixth rung, <= 8 s on the ninth",
    ),
    "loss-20": Fault("20 % loss between any two, multicast 80 %", "seen within 5 s"),
    "loss-40": Fault("40 % loss between any two, multicast 80 %", "seen within 15 s"),
    "flash-40": Fault("40 % loss each way: flash messages", ">= 99 % delivered, p95 <= 1.5 s"),
    "multicast": Fault("multicast filtered, no address known", "found within 10 s"),
    "partition": Fault(
        "partition 2|3, 1,000 events on each side, then healed",
        "all equal within 5 s of healing, bytes received <= 2x what was missing",
    ),
    "one-way": Fault("one direction of a link cut", "shown as not hearing us within 15 s; never as well"),
    "gone": Fault("kill -9 of a peer", "suspect within 10 s, gone within 30 s on all others"),
    "clock": Fault("one of three clocks a year ahead", "order and sync right on the others, skew shown"),
    "clock-behind": Fault("one of three clocks three hours behind", "order and sync right, skew shown"),
    "clock-never-set": Fault("one of three clocks stands at 2024-01-01", "order and sync right, skew shown"),
    "nat-cone": Fault("NAT: full cone to full cone", "direct data channel within 3 s"),
    "nat-restricted": Fault("NAT: restricted to restricted", "direct data channel within 3 s"),
    "nat-cone-symmetric": Fault("NAT: full cone to symmetric", "direct data channel within 3 s"),
    "nat-restricted-symmetric": Fault(
        "NAT: restricted to symmetric, TURN", "relayed data channel within 3 s"
    ),
    "nat-symmetric": Fault("NAT: symmetric to symmetric, TURN", "relayed data channel within 3 s"),
    "nat-no-udp": Fault("NAT: UDP blocked, TURN over TCP", "relayed data channel within 3 s"),
    "nat-same": Fault("NAT: both behind the same router", "linked directly within 3 s"),
    "nat-hairpin": Fault(
        "NAT: both behind the same router, which keeps them apart; with hairpin",
        "direct data channel within 3 s",
    ),
    "nat-no-hairpin": Fault("NAT: the same without hairpin, TURN", "relayed data channel within 3 s"),
    "dead-stun": Fault("the configured STUN and TURN servers are dead", "LAN link within 0.5 s"),
    "address": Fault("a node moves to a new address", "linked again within 5 s, no duplicate peer"),
    "network": Fault("a node moves to another network, behind a router", "linked again within 5 s, one row"),
    "flaps": Fault("three flaps of 200 ms", "linked within 5 s, nothing lost"),
    "again": Fault("a way is cut for a minute, then back", "linked within 1 s"),
    "sparse": Fault("50 ms there and back, 5 % loss each way: a note now and then", "p99 <= 200 ms"),
    "connect": Fault("50 ms there and back: a link is made", "within 0.5 s of the dial"),
    "far": Fault("700 ms there and back", "links live"),
    "suspend": Fault("a node is suspended for 30 s", "linked again within 5 s"),
    "line": Fault(
        "a line a-b-c-d, each hears its neighbours only", "events and files from end to end, each byte once"
    ),
    "removed": Fault(
        "a removed member goes on writing behind a partition",
        "after healing all mark it as of a removed device; no new key reaches it",
    ),
    "slow": Fault("64 kbit/s and 700 ms", "links live; a note passes a file under way within 5 s"),
    "corrupt": Fault("one frame of twenty damaged above the MAC", "all events, exactly once, intact"),
    "twenty": Fault("20 nodes, a burst of 1,000 events", "all, exactly once, links bounded"),
    "silence": Fault(
        "receive-only for ten minutes of the node's time",
        "no byte of the node at the switch; it still receives",
    ),
    "why": Fault("eight causes injected, one at a time", "each named rightly within 15 s"),
    "why-clean": Fault("`why` asked 50 times with nothing wrong", "no false name"),
}


class Elsewhere(NamedTuple):
    """A fault that needs no network; the test fails where the promise is not kept."""

    what: str
    promise: str
    test: str


ELSEWHERE = (
    Elsewhere(
        "kill -9 of the writing process, five times; in the soak a hundred",
        "no acknowledged event lost, nothing corrupt",
        "tests/relay/test_crash.py",
    ),
    Elsewhere(
        "power cuts that drop every unsynced write: four, and four with a torn last one; in the soak twenty",
        "no acknowledged event lost, nothing corrupt",
        "tests/relay/test_crash.py",
    ),
    Elsewhere(
        "no file may grow beyond a random byte",
        "no acknowledged event lost, nothing corrupt",
        "tests/relay/test_crash.py",
    ),
    Elsewhere(
        "a full disk, then room again",
        "writing is refused with the reason and goes on by itself; what was there is read all the time",
        "tests/e2e/test_bad_input.py",
    ),
    Elsewhere(
        "a disk that others fill at a random byte of a file that comes, then room again",
        "the fetch says why and goes on by itself, notes go on all the time, the file is whole in the end",
        "tests/soak/test_full_disk.py",
    ),
    Elsewhere(
        "a changed bit in a block",
        "not served, named, and fetched again where somebody has it",
        "tests/content/test_damage.py",
    ),
    Elsewhere(
        "a changed bit anywhere in a database",
        "no other bytes are ever read; the command says which file is damaged",
        "tests/relay/test_crash.py, tests/e2e/test_bad_input.py",
    ),
    Elsewhere(
        "200 links to one hub, 1,000 notes at once, the hub killed, one peer that floods",
        "all linked, all notes everywhere, exactly once; all back; nobody else is let go",
        "tests/soak/test_hub.py",
    ),
)
