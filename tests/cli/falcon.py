"""The team Falcon, as a node of it tells: what the commands print in the transcripts."""

from __future__ import annotations

from meshconsole.core.history import Track
from meshconsole.core.reachability import Diagnosis, Finding, Hop, Pong
from meshconsole.core.status import (
    BlobView,
    ClientStatus,
    EdgePart,
    EdgePin,
    EdgeStatus,
    EdgeToken,
    EventView,
    GuestStatus,
    HealthItem,
    JobView,
    KindCount,
    LimitsStatus,
    LinkStatus,
    MemberStatus,
    NodeStatus,
    PeerStatus,
    RelayRates,
    RelayStatus,
    RollCallStatus,
    RollStatus,
    SentStatus,
    SlowClient,
    StorageStatus,
    Talker,
    TeamStatus,
)

NOW = 1_700_000_000.0
ALPHA, BRAVO, CHARLIE = "a1" * 32, "b2" * 32, "c3" * 32
INVITE = "MC1-ABCDEFGHJKLMNPQRSTUVWXYZ234567"
HOSTILE = "mal\x1b]52;c;aGk=\x07lory\u202e[red]"
CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"

TRACKS = (
    Track("in", 10.0, NOW, (0.0, 1000.0, 2500.0, 1250.0)),
    Track("out", 10.0, NOW, (0.0, 0.0)),
    Track("stored", 600.0, NOW, (1e6, 2e6, 3e6)),
    Track("rtt", 30.0, NOW, (1.5, 2.5, 480.0, 1.6), BRAVO),
)
STATUS = NodeStatus(
    version="0.1.0",
    name="alpha",
    npub=ALPHA,
    started=NOW - 7500,
    now=NOW,
    listen=("192.0.2.7:7447", "[2001:db8::7]:7447"),
    relay=RelayStatus(
        True,
        "ws://192.0.2.7:7447",
        False,
        clients=2,
        subscriptions=5,
        events_in=1310,
        events_out=9400,
        requests=77,
        bytes_in=1_400_000,
        bytes_out=8_200_000,
        filters=9,
        strangers=1,
        handshakes=1,
        queries_cut=2,
        slow_closed=1,
        refusals={"rate-limited: at most 50 events per second": 41, "restricted: members only": 3},
        rates=RelayRates(1.5, 12.25, 0.5, 900.0, 7000.0, 0.25),
        kinds=(KindCount(1, 1200, 1.25), KindCount(7, 100, 0.25), KindCount(-1, 10)),
        keys=(Talker(BRAVO, 0, 900, 40, 400_000, 0, 0),),
        addresses=(Talker("192.0.2.66", 2, 12, 30, 9_000, 6_100_000, 44), Talker("2001:db8::/64", 0, 4)),
        slow=(SlowClient("192.0.2.66", CHARLIE, 1_200_000, 12.0),),
    ),
    storage=StorageStatus(512_000_000, 1_200_000, 48_000_000, 1200, 48, pinned_bytes=48_000_000),
    limits=LimitsStatus(
        connections=3,
        max_connections=64,
        rate_in_bps=12_500,
        rate_out_bps=250_000,
        max_rate_bps=1_000_000,
        memory_bytes=44_000_000,
        max_memory_bytes=0,
        cpu_percent=1.25,
        performance_mode="balanced",
        degraded=("replication waits: the bandwidth limit is reached",),
        refusals={"rate-limited": 4, "restricted: quota": 1},
    ),
    peers=(
        PeerStatus(
            BRAVO,
            "bravo",
            "member",
            "up",
            links=(
                LinkStatus("websocket", "192.0.2.8:7447", NOW - 60, 1.6, "X25519MLKEM768"),
                LinkStatus("webrtc", "192.0.2.8:50123", NOW - 50, 2.4, channel="nostr-events"),
            ),
            hears_us=True,
            last_heard=NOW - 2,
            lag_events=0,
        ),
        PeerStatus(
            CHARLIE,
            HOSTILE,
            "observer",
            "down",
            last_heard=NOW - 4000,
            last_error="timed out",
            via="bravo",
            next_try=NOW + 30,
        ),
    ),
    team=TeamStatus(
        "Falcon",
        "fa" * 32,
        "MC1",
        3,
        "admin",
        (
            MemberStatus(ALPHA, "alpha", "admin", "K7QF 2MZ9 X0D4 B8RT 5WHC J3NE V6PA 1SGY", me=True),
            MemberStatus(BRAVO, "bravo", "member", "0A9C 7YTE 4KQW 6ZRM 2BHX P8ND 5FVJ 3GS1"),
            MemberStatus(CHARLIE, HOSTILE, "observer", "Q4ZX 8NMK 1TRD 9WBA 6HCE 0PYF 7JVG 2S53"),
        ),
        clients=(ClientStatus("d4" * 32, HOSTILE, writes=True),),
        rules=(("history", "full"), ("rotate_days", "30"), ("max_file_mb", "-")),
        rotation_owed=True,
    ),
    capabilities=("nostr_relay", "ipfs_node"),
    provider="OpenSSL 4.0.3",
    discovery=("mdns: 1 node seen", "cached: 2 addresses"),
    roll_call=RollCallStatus(
        "07" * 32,
        BRAVO,
        "bravo",
        "ROLL CALL all there?",
        NOW - 400,
        owed=True,
        board=(
            RollStatus(ALPHA, "alpha", "silent", me=True),
            RollStatus(CHARLIE, HOSTILE, "help", NOW - 30),
        ),
    ),
    sent=(
        SentStatus("05" * 32, NOW - 60, "flash", "carried 1/2", 2, (BRAVO,), (CHARLIE,)),
        SentStatus("06" * 32, NOW - 600, "routine", "read 1/1", 1, (BRAVO,), (), (BRAVO,)),
    ),
    health=(HealthItem("clock", "warning", "The clock was never set.", "Set it."),),
)

EVENTS = (
    EventView(
        1,
        "01" * 32,
        BRAVO,
        "bravo",
        1_699_999_000,
        NOW,
        4202,
        "team note",
        311,
        True,
        "",
        "all set",
        sealed=True,
    ),
    EventView(
        2,
        "02" * 32,
        CHARLIE,
        HOSTILE,
        1_699_999_060,
        NOW,
        1,
        "note",
        402,
        False,
        "invalid: bad signature",
        "\x9b31mred",
    ),
    EventView(
        3,
        "03" * 32,
        BRAVO,
        "bravo",
        99_999_999_999_999,
        NOW,
        4202,
        "team note",
        311,
        True,
        "duplicate",
        "",
        sealed=True,
    ),
)

JOBS = (
    JobView(CID, "map.pdf", 12_000_000, 48_000_000, "fetching", peers=2),
    JobView(CID, "写真.jpg", 0, None, "failed", error="No room is left."),
)
BLOBS = (
    BlobView(
        CID,
        "map.pdf",
        1_234_567,
        1_250_000,
        "alpha",
        NOW - 300,
        1_250_000,
        "here",
        pinned=True,
        copies=("hub", "ridge-pi"),
        copies_wanted=3,
    ),
    BlobView(
        CID.replace("gh2", "xx2"),
        "写真.jpg",
        48_000_000,
        48_100_000,
        "bravo",
        NOW - 60,
        12_025_000,
        "partial",
    ),
)


STRAIGHT = Pong("b2" * 32, "bravo", 1.94, path="websocket", address="192.0.2.8:7447", clock_offset_s=0.1)
ROUNDABOUT = Pong("c3" * 32, "charlie", 31.0, via=("bravo",), clock_offset_s=-7200.0)
HOPS = (Hop("b2" * 32, "bravo", 1.9), Hop("d4" * 32, "delta"), Hop("c3" * 32, "charlie", 31.0))
LINKED = Diagnosis("bravo", "b2" * 32, True, "", "bravo is linked over websocket; nothing is wrong.")
BLOCKED = Diagnosis(
    "charlie",
    "c3" * 32,
    False,
    "port-blocked",
    "charlie runs at 192.0.2.9:7447 and answers by UDP, but its machine refuses TCP connections.",
    "Open the port in the firewall of that machine, or choose another: node.listen",
    ("192.0.2.9:7447: TCP refused, answers a question to it alone, answers one to all",),
)
FINDINGS = (
    Finding("interface", "good", "eth0: 192.0.2.7/24"),
    Finding("mdns", "note", "0 other nodes answered"),
    Finding(
        "servers",
        "bad",
        "turn:192.0.2.99:3478 does not answer",
        "Start the server, or correct nat.turn_servers.",
    ),
)


EDGE = EdgeStatus(
    "127.0.0.1:7480",
    2,
    (EdgePart("gateway", True, 120), EdgePart("blossom", False), EdgePart("pinning", True, 7)),
)
TOKENS = (EdgeToken("ridge-kubo", NOW - 90_000, NOW - 60, 2), EdgeToken("new", NOW, None, 0))
PINS = (
    EdgePin("0" * 32, "ridge-kubo", "bafkreia", "map.pmtiles", "pinning", "", NOW - 60),
    EdgePin(
        "1" * 32, "ridge-kubo", "bafkreib", "\x1b[2Jx", "failed", "storage quota of 512 MB is full", NOW - 120
    ),
)

GUESTS = (
    GuestStatus(CHARLIE, HOSTILE, "waiting", NOW - 30, code="048213"),
    GuestStatus(BRAVO, "Anna", "here", NOW - 3600, until=NOW + 25_200, events=12),
)

STORED = (
    b'{"id":"01","kind":1,"content":"all set"}',
    '{"id":"02","kind":1,"content":"\u202egnp.exe \x9b31m"}'.encode(),
)
