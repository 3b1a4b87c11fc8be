"""A small team in the field, as its node tells of it: what tests and pictures look at. Fixed by seeds."""

from __future__ import annotations

import random

import msgspec

from meshconsole.control.team import OpenInvite
from meshconsole.core.history import Track
from meshconsole.core.status import (
    HealthItem,
    LimitsStatus,
    LinkStatus,
    MemberStatus,
    NodeStatus,
    PeerStatus,
    RelayRates,
    RelayStatus,
    SlowClient,
    StorageStatus,
    Talker,
    TeamStatus,
)

NOW = 1_772_631_422.0
"""2026-03-04 13:37:02 UTC."""
GROUP = "X25519MLKEM768"
INVITE = "MC1" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" * 5

NAMES = ("falcon-2", "hub", "ridge-pi", "medic", "truck-1", "falcon-1", "boat", "base")


def npub_of(name: str) -> str:
    return random.Random(name).randbytes(32).hex()


AUDIT = [
    "2026-03-04T11:20:41Z node.start version=0.1.0",
    "2026-03-04T11:20:43Z link.up peer=hub path=websocket group=X25519MLKEM768",
    "2026-03-04T12:02:10Z team.admit name=medic role=member epoch=3",
    "2026-03-04T13:15:57Z policy.refuse reason=invalid from=192.0.2.44",
]


def a_link(path: str, address: str, rtt: float, up_for: float) -> LinkStatus:
    return LinkStatus(
        path="webrtc" if path == "webrtc" else "websocket",
        address=address,
        since=NOW - up_for,
        rtt_ms=rtt,
        group=GROUP,
        loss_percent=0.0,
        bytes_in=4_200_000,
        bytes_out=1_100_000,
    )


def busy_peers() -> tuple[PeerStatus, ...]:
    def peer(name: str, role: str, state: str, *links: LinkStatus, **more: object) -> PeerStatus:
        fields = {"npub": npub_of(name), "name": name, "role": role, "state": state, "links": links, **more}
        return msgspec.convert(
            {**fields, "links": [msgspec.to_builtins(link) for link in links]}, PeerStatus, strict=False
        )

    return (
        peer(
            "hub",
            "relay",
            "up",
            a_link("websocket", "192.0.2.1:7447", 1.2, 8000),
            hears_us=True,
            last_heard=NOW - 1,
            lag_events=0,
        ),
        peer(
            "falcon-2",
            "member",
            "up",
            a_link("websocket", "192.0.2.12:7447", 2.9, 7400),
            a_link("webrtc", "192.0.2.12:50122", 4.4, 600),
            hears_us=True,
            last_heard=NOW - 2,
            lag_events=0,
        ),
        peer(
            "medic",
            "member",
            "up",
            a_link("websocket", "192.0.2.31:7447", 6.1, 5600),
            hears=[npub_of("falcon-2"), npub_of("hub")],
            hears_us=True,
            last_heard=NOW - 2,
            lag_events=0,
        ),
        peer(
            "ridge-pi",
            "relay",
            "up",
            a_link("webrtc", "198.51.100.20:41002", 48, 3100),
            hears_us=True,
            last_heard=NOW - 3,
            lag_events=0,
        ),
        peer(
            "truck-1",
            "member",
            "up",
            msgspec.structs.replace(
                a_link("webrtc", "203.0.113.9:3478", 612, 900), relayed=True, loss_percent=12.5
            ),
            hears_us=True,
            last_heard=NOW - 4,
            lag_events=214,
            lag_bytes=91_000,
        ),
        peer(
            "falcon-1",
            "admin",
            "suspect",
            a_link("webrtc", "198.51.100.77:60210", 95, 4000),
            hears_us=False,
            last_heard=NOW - 21,
        ),
        peer(
            "boat",
            "observer",
            "connecting",
            last_heard=NOW - 340,
            via="ridge-pi",
            addresses=["198.51.100.80:7447"],
            last_error="timed out after 12 s",
            next_try=NOW + 8,
        ),
        peer(
            "base",
            "member",
            "down",
            last_heard=NOW - 19_000,
            addresses=["10.1.0.4:7447"],
            last_error="no route to host",
            next_try=NOW + 55,
        ),
    )


DISCOVERY = (
    "mdns: listening, 4 teammates seen",
    "cached peers: 8 addresses, 2 tried now",
    "invite: none open",
    "dht: off",
)


def busy_tracks() -> tuple[Track, ...]:
    """Three hours in which a file came, and a link that got worse."""
    stored = tuple(310e6 + 0.5e6 * at for at in range(17))
    rates = tuple(100_000.0 + 20_000 * (at % 7) for at in range(40))
    rtts = tuple(80.0 + 30 * at for at in range(18))
    return (
        Track("in", 10.0, NOW - 10, rates),
        Track("out", 10.0, NOW - 10, tuple(reversed(rates))),
        Track("stored", 600.0, NOW - 600, stored),
        Track("rtt", 30.0, NOW - 30, rtts, npub_of("truck-1")),
    )


def busy_invites() -> tuple[OpenInvite, ...]:
    return (OpenInvite("4f2a91c07be3", int(NOW) + 2700, "member"),)


def busy_status() -> NodeStatus:
    members = tuple(
        MemberStatus(npub_of(name), name, role, _fingerprint(name), me=name == "falcon-3")
        for name, role in (
            ("falcon-1", "admin"),
            ("falcon-2", "member"),
            ("falcon-3", "member"),
            ("medic", "member"),
            ("truck-1", "member"),
            ("base", "member"),
            ("boat", "observer"),
            ("hub", "relay"),
            ("ridge-pi", "relay"),
        )
    )
    return NodeStatus(
        version="0.1.0",
        name="falcon-3",
        npub=npub_of("falcon-3"),
        started=NOW - 8061,
        now=NOW,
        listen=("192.0.2.7:7447",),
        relay=RelayStatus(
            True,
            "ws://192.0.2.7:7447",
            public=False,
            clients=3,
            subscriptions=11,
            rates=RelayRates(events_in=4.5, events_out=31.0, requests=0.7),
            keys=(Talker(npub_of("medic"), events=212, bytes_in=88_000),),
            addresses=(
                Talker("192.0.2.41", 2, events=180, bytes_in=71_000, refused=12),
                Talker("192.0.2.43", 1, events=32, bytes_in=17_000),
            ),
            slow=(SlowClient("192.0.2.43", npub_of("boat"), 412_000, 9.0),),
        ),
        storage=StorageStatus(
            quota_bytes=512_000_000,
            events_bytes=14_200_000,
            blocks_bytes=304_000_000,
            events_count=12_480,
            blocks_count=1204,
            pinned_bytes=88_000_000,
            disk_free_bytes=12_400_000_000,
            growth_bps=310.0,
            audit_bytes=210_000,
        ),
        limits=LimitsStatus(
            connections=9,
            max_connections=64,
            rate_in_bps=153_000,
            rate_out_bps=812_000,
            max_rate_bps=1_000_000,
            memory_bytes=58_000_000,
            max_memory_bytes=256_000_000,
            cpu_percent=3.2,
            performance_mode="balanced",
            degraded=("no new copies of files for others: the processor has no time left",),
            steps=("copies-wait",),
            refusals={"invalid signature": 8, "rate-limited": 4, "not a team member": 2},
        ),
        peers=busy_peers(),
        team=TeamStatus("alpha", "5e" * 32, "MC1", 3, "member", members, rotation_owed=True),
        capabilities=("nostr_relay", "ipfs_node"),
        provider="openssl",
        discovery=DISCOVERY,
        health=(
            HealthItem(
                "content-damaged",
                "warning",
                "A block on the disk was altered and set aside.",
                "Check the disk.",
                since=NOW - 190,
            ),
        ),
    )


def empty_status() -> NodeStatus:
    busy = busy_status()
    return msgspec.structs.replace(
        busy,
        peers=(),
        team=None,
        health=(),
        started=NOW - 42,
        discovery=("mdns: listening", "cached peers: none yet", "dht: off"),
        storage=StorageStatus(512_000_000, 24_576, 0, 0, 0, disk_free_bytes=12_400_000_000),
        limits=msgspec.structs.replace(
            busy.limits,
            connections=0,
            rate_in_bps=0,
            rate_out_bps=0,
            memory_bytes=41_000_000,
            max_memory_bytes=0,
            cpu_percent=0.1,
            degraded=(),
            steps=(),
            refusals={},
        ),
        relay=RelayStatus(True, "ws://192.0.2.7:7447", public=False, clients=0, subscriptions=0),
    )


def _fingerprint(name: str) -> str:
    digits = random.Random(f"{name} bundle").randbytes(16).hex()
    return " ".join(digits[i : i + 4] for i in range(0, 32, 4))


def some_traffic(status: NodeStatus, steps: int = 90) -> list[NodeStatus]:
    """The minutes before `status`, one snapshot every two seconds."""
    generator = random.Random(7)
    allowed = status.limits.max_rate_bps
    snapshots = []
    rate_in, rate_out = 0.15, 0.5
    for step in range(steps, 0, -1):
        rate_in = min(0.6, max(0.02, rate_in + generator.uniform(-0.06, 0.06)))
        rate_out = min(0.95, max(0.05, rate_out + generator.uniform(-0.12, 0.13)))
        limits = msgspec.structs.replace(
            status.limits, rate_in_bps=rate_in * allowed, rate_out_bps=rate_out * allowed
        )
        snapshots.append(msgspec.structs.replace(status, now=status.now - 2 * step, limits=limits))
    return [*snapshots, status]
