"""A node's control socket with fixed answers, in a thread of its own: what the command line talks to."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import msgspec

from meshconsole.control.audit import AuditTail
from meshconsole.control.config import ConfigData, GetConfig, ReloadConfig, SetConfig
from meshconsole.control.edge import EdgeData, ListPins, MakeToken, PinsData, RevokeToken, ShowEdge, TokenData
from meshconsole.control.files import (
    AddBlob,
    BlobsData,
    GetBlob,
    JobsData,
    ListBlobs,
    ListJobs,
    PauseFetch,
    ScrubBlobs,
)
from meshconsole.control.guests import (
    AdmitGuest,
    GuestLinkData,
    GuestsData,
    ListGuests,
    OpenGuestLink,
    RefuseGuest,
    RemoveGuest,
    SayToGuests,
)
from meshconsole.control.messages import (
    Command,
    CountsData,
    EventsData,
    GetHistory,
    HistoryData,
    LinesData,
    ListEvents,
    Reply,
    Stop,
    done,
    refused,
)
from meshconsole.control.notes import AnswerRoll, CallRoll, MarkRead, SendDirect, SendNote, SendPlain
from meshconsole.control.reach import (
    DiagnosisData,
    FindingsData,
    HopsData,
    Netcheck,
    PingPeer,
    PongData,
    TracePeer,
    WhyPeer,
)
from meshconsole.control.relay import (
    BackUpRelay,
    ChangeRelayLists,
    DeleteFromRelay,
    EvictFromRelay,
    Export,
    Import,
    ImportLines,
    ListsData,
    PageData,
    RemovedClass,
    RemovedData,
    ScanRelay,
    ShowRelayLists,
    VacuumRelay,
)
from meshconsole.control.server import ControlServer
from meshconsole.control.team import (
    AgreeToProposal,
    CreateTeam,
    Invite,
    InviteData,
    InvitesData,
    JoinTeam,
    ListInvites,
    OpenInvite,
    ProposedData,
    RefuseProposal,
    RemoveMember,
    RevokeInvite,
    SetPolicy,
    SetRole,
)
from meshconsole.core.config import Config, changed_keys, to_values, with_values
from meshconsole.core.errors import Fatal
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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshconsole.control.server import Report

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


class ScriptedNode:
    """Answers as a node with one team would, and remembers the commands."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.config = Config()
        self.stopping = threading.Event()

    def status(self) -> NodeStatus:
        return STATUS

    async def handle(self, command: Command, report: Report) -> Reply:
        self.commands.append(command)
        match command:
            case ListEvents(limit=limit, filter=wanted):
                shown = [event for event in EVENTS if wanted in event.text]
                return done(data=EventsData(tuple(shown[-limit:])))
            case GetHistory():
                return done(data=HistoryData(TRACKS))
            case PingPeer(who="bravo"):
                return done(data=PongData(STRAIGHT))
            case PingPeer(who="charlie"):
                return done(data=PongData(ROUNDABOUT))
            case PingPeer() | TracePeer(who="delta"):
                raise Fatal("The team has no device 'delta'.", hint="See: meshconsole team members")
            case TracePeer():
                return done(data=HopsData(HOPS))
            case WhyPeer(who=who):
                return done(data=DiagnosisData(LINKED if who == "bravo" else BLOCKED))
            case Netcheck():
                return done(data=FindingsData(FINDINGS))
            case ListBlobs():
                return done(data=BlobsData(BLOBS))
            case SendNote(text=text) if len(text) > 1000:
                return refused(
                    "restricted", "The storage quota of 512 MB is used up.", "Raise it, or unpin files."
                )
            case CallRoll(text=text):
                return done(f"Called: {text}.")
            case AnswerRoll(word=word):
                return done(f"Answered: {word}.")
            case MarkRead():
                return done("Its author is told that it was read.")
            case SendNote():
                return done(data=EventsData(EVENTS[:1]))
            case SendDirect(npub=npub):
                assert STATUS.team is not None
                name = next(member.name for member in STATUS.team.members if member.npub == npub)
                sent = msgspec.structs.replace(EVENTS[0], kind=4206, words="direct", to=name)
                return done("Sent.", EventsData((sent,)))
            case SendPlain(text="not allowed"):
                return refused(
                    "restricted",
                    "The team's rule plain_messages is off: nothing is sent that is not post-quantum.",
                    "An admin may change it: meshconsole team policy plain_messages=on",
                )
            case SendPlain():
                return done("Sent. It is not post-quantum.", EventsData(EVENTS[:1]))
            case AddBlob():
                return done(data=BlobsData(BLOBS[:1]))
            case ListJobs():
                return done(data=JobsData(JOBS))
            case PauseFetch():
                return done("Paused. Go on: meshconsole blobs resume CID")
            case ScrubBlobs():
                sentence = "Damaged blocks were set aside and are fetched again from teammates who hold them."
                return done(sentence, CountsData({"read": 48, "damaged": 1}))
            case GetBlob(cid=cid) if cid != CID:
                return refused("invalid", "No file of the team has this CID.", "See: meshconsole blobs")
            case GetBlob(destination=destination):
                report(1, 2, "map.pdf")
                return done(f"Wrote map.pdf into {destination}.")
            case Invite(lifetime_s=lifetime):
                return done(data=InviteData(INVITE, int(NOW) + lifetime, ("192.0.2.7:7447",)))
            case ListInvites():
                return done(data=InvitesData((OpenInvite("0a1b2c3d4e5f6071", int(NOW) + 3600, "member"),)))
            case SetPolicy():
                return done("Every node of the team applies this as soon as it hears of it.")
            case SetRole(role="relay"):
                return done(
                    "A second admin must agree: meshconsole team agree 0a1b2c3d", ProposedData("0a1b2c3d")
                )
            case AgreeToProposal():
                return done("Every node of the team applies this as soon as it hears of it.")
            case RefuseProposal():
                return done("Done.")
            case RevokeInvite():
                return done("The invite lets nobody in any more.")
            case JoinTeam(invite="MC1-USED"):
                return refused("restricted", "This invite was used already.", "Ask for a new one.")
            case JoinTeam():
                return done("Joined Falcon as member.")
            case Import() | ImportLines():
                return done(data=CountsData({"new": 2, "already here": 1, "refused": 0}))
            case ReloadConfig():
                return done("Read again.", ConfigData(to_values(self.config)))
            case ScanRelay(filter=wanted) if "nonsense" in wanted:
                return refused("unsupported", "this filter field is not known here: nonsense")
            case ScanRelay(after=after):
                events = STORED[:1] if after is None else STORED[1:]
                return done(data=PageData(events, 7 if after is None else None))
            case DeleteFromRelay(filter=wanted) if "4242" in wanted:
                return done(data=RemovedData((RemovedClass("matching", 0, 0),)))
            case DeleteFromRelay():
                return done(data=RemovedData((RemovedClass("matching", 12, 4800),)))
            case EvictFromRelay():
                rows = (RemovedClass("others' events", 90, 40_000), RemovedClass("the team's events", 0, 0))
                return done(data=RemovedData(rows))
            case ShowRelayLists() | ChangeRelayLists():
                return done(
                    data=ListsData(
                        {BRAVO: HOSTILE}, {CHARLIE: ""}, {"e5" * 32: ""}, {}, {"192.0.2.7": "flood"}, (), (4,)
                    )
                )
            case BackUpRelay(path=path):
                return done(f"Copied to {path}; it opens with this home's keys only.")
            case VacuumRelay():
                counts = {"pages given back": 300, "bytes before": 3_200_000, "bytes now": 2_000_000}
                return done(data=CountsData(counts))
            case Export():
                return done(data=CountsData({"written": 1200}))
            case GetConfig():
                return done(data=ConfigData(to_values(self.config)))
            case SetConfig(values=values):
                old, self.config = self.config, with_values(self.config, values)
                waiting = sorted(changed_keys(old, self.config) & {"node.listen", "node.name"})
                return done(data=ConfigData(to_values(self.config), tuple(waiting)))
            case AuditTail():
                return done(
                    data=LinesData(("1  2023-11-14 22:13:20  node started", f"2  ...  {HOSTILE} joined"))
                )
            case OpenGuestLink(link_s=link_s):
                return done(data=GuestLinkData("http://127.0.0.1:7450/#mOEp1Z4dxJzp4BqKSrU0tA", NOW + link_s))
            case ShowEdge():
                return done(data=EdgeData(EDGE, TOKENS, 3, 1_500_000))
            case MakeToken(name="ridge-kubo"):
                return refused(
                    "invalid",
                    "There is a token ridge-kubo already.",
                    "Choose another name, or first: meshconsole edge revoke ridge-kubo",
                )
            case MakeToken():
                return done(data=TokenData("mc_K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72ol_pe_Unols"))
            case RevokeToken(unpin=unpin):
                return done(
                    "Nobody may use it any more, and 2 pins are lifted."
                    if unpin
                    else "Nobody may use it any more. What it has pinned stays pinned."
                )
            case ListPins():
                return done(data=PinsData(PINS))
            case ListGuests():
                return done(data=GuestsData(GUESTS))
            case AdmitGuest(code="048213"):
                return done("Carl is a guest now.", GuestsData(GUESTS))
            case AdmitGuest() | RefuseGuest(code="1"):
                return refused(
                    "invalid", "No browser shows that code now.", "See who waits: meshconsole guest list"
                )
            case RefuseGuest():
                return done("That browser was told no.")
            case RemoveGuest(who=who):
                return done(f"{who} is no guest any more.")
            case SayToGuests():
                return done("Said to the guests. It is not sealed.", EventsData(EVENTS[:1]))
            case Stop():
                self.stopping.set()
                return done()
            case CreateTeam() | SetRole() | RemoveMember():
                return done()
            case _:
                return done("Done.")


def serve(path: Path, node: ScriptedNode) -> Iterator[None]:
    """Serves `node` on the socket until resumed, or until it is told to stop."""
    ready, end = threading.Event(), threading.Event()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = ControlServer(path, node, loop.time)
        await server.start()
        ready.set()
        stopped = loop.run_in_executor(None, node.stopping.wait)
        ended = loop.run_in_executor(None, end.wait)
        await asyncio.wait([stopped, ended], return_when=asyncio.FIRST_COMPLETED)
        await server.stop()
        node.stopping.set()
        await asyncio.gather(stopped, ended)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        end.set()
        thread.join(10)
        assert not thread.is_alive()
