"""A node of a small team in the field, scripted: what the tests and the pictures look at.

It stands behind a real control socket and answers as a node does. Everything is fixed by the seed.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from meshconsole.control.audit import AuditTail
from meshconsole.control.config import ConfigData, GetConfig, SetConfig
from meshconsole.control.desk import DeskData, KeepDesk, RecallDesk
from meshconsole.control.files import (
    AddBlob,
    BlobsData,
    ExportCar,
    FetchBlob,
    GetBlob,
    ListBlobs,
    PauseFetch,
    Pin,
    PreviewBlob,
    Unpin,
)
from meshconsole.control.keys import Unlock
from meshconsole.control.messages import (
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
from meshconsole.control.team import (
    CreateTeam,
    Invite,
    InviteData,
    InvitesData,
    JoinTeam,
    ListInvites,
    OpenInvite,
    RemoveMember,
    RotateKey,
    SetRole,
)
from meshconsole.core.config import RELOADABLE, Config, ConfigError, to_values, with_values
from meshconsole.core.errors import Refused
from meshconsole.core.history import Track
from meshconsole.core.kinds import (
    EPOCH_GRANT,
    FILE_MANIFEST,
    KEY_BUNDLE,
    ROSTER_ENTRY,
    TEAM_NOTE,
    TEXT_NOTE,
)
from meshconsole.core.status import (
    BlobView,
    EventView,
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

if TYPE_CHECKING:
    from meshconsole.control.messages import Command
    from meshconsole.control.server import ControlServer, Report

NOW = 1_772_631_422.0
"""2026-03-04 13:37:02 UTC."""
GROUP = "X25519MLKEM768"
INVITE = "MC1" + "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" * 5

NAMES = ("falcon-2", "hub", "ridge-pi", "medic", "truck-1", "falcon-1", "boat", "base")


def npub_of(name: str) -> str:
    return random.Random(name).randbytes(32).hex()


class ScriptedNode:
    """`passphrase`: the home is locked until it is given. `team` False: a node alone, with nothing yet."""

    def __init__(self, *, team: bool = True, passphrase: str = "") -> None:
        self.locked = bool(passphrase)
        self.passphrase = passphrase
        self.team = team
        self.config = with_values(
            Config(), {"node": {"name": "falcon-3"}, "limits": {"max_bandwidth_mbps": 8}}
        )
        self.waiting: set[str] = set()
        self.commands: list[Command] = []
        self.stopped = False
        self.desk: KeepDesk | None = None
        self.refuse = ""
        """A sentence: every command that changes something is refused with it."""
        self.server: ControlServer | None = None
        self.now = NOW
        self.audit = list(AUDIT if team else AUDIT[:1])
        self.status_now = busy_status() if team else empty_status()
        self.events = busy_events() if team else []
        self.blobs = {blob.cid: blob for blob in (busy_blobs() if team else [])}

    def status(self) -> NodeStatus:
        if self.locked:
            raise Refused("auth-required", "The home is locked.", hint="Type its passphrase.")
        return msgspec.structs.replace(self.status_now, now=self.now)

    async def handle(self, command: Command, report: Report) -> Reply:
        self.commands.append(command)
        if isinstance(command, RecallDesk | KeepDesk):
            self.desk = command if isinstance(command, KeepDesk) else self.desk
            return done(data=DeskData(self.desk) if self.desk is not None else None)
        reading = isinstance(
            command, GetHistory | ListInvites | ListEvents | ListBlobs | GetConfig | AuditTail | Unlock | Stop
        )
        if self.refuse and not reading:
            return refused("restricted", self.refuse)
        return self._reading(command) if reading else await self._changing(command, report)

    def _reading(self, command: Command) -> Reply:
        match command:
            case ListEvents(limit=limit):
                return done(data=EventsData(tuple(self.events[-limit:])))
            case GetHistory():
                return done(data=HistoryData(busy_tracks() if self.team else ()))
            case ListBlobs():
                return done(data=BlobsData(tuple(self.blobs.values())))
            case GetConfig():
                return done(data=self._config())
            case ListInvites():
                return done(data=InvitesData(busy_invites() if self.team else ()))
            case AuditTail():
                return done(data=LinesData(tuple(self.audit)))
            case Unlock(passphrase=passphrase):
                if passphrase != self.passphrase:
                    return refused("restricted", "That is not the passphrase.")
                self.locked = False
            case Stop():
                self.stopped = True
        return done()

    async def _changing(self, command: Command, report: Report) -> Reply:
        match command:
            case SendDirect() | SendPlain():
                return done()
            case MarkRead(event_id=event_id):
                left = tuple(note for note in self.status_now.unread if note.id != event_id)
                self.status_now = msgspec.structs.replace(self.status_now, unread=left)
                self._tell()
            case SendNote(text=text):
                event = an_event(len(self.events) + 1, "falcon-3", TEAM_NOTE, text, at=self.now)
                self.events.append(event)
                if self.server is not None:
                    self.server.events_happened([event])
                return done("Sent to the team.", EventsData((event,)))
            case AddBlob(path=path):
                blob = a_blob(path.rpartition("/")[2], 120_000, "falcon-3", "here", at=self.now)
                self.blobs[blob.cid] = blob
                return done("", BlobsData((blob,)))
            case GetBlob(cid=cid, destination=destination):
                blob = self.blobs[cid]
                report(blob.sealed_size // 2, blob.sealed_size, "from hub")
                here = msgspec.structs.replace(blob, state="here", present_bytes=blob.sealed_size)
                self._put(here)
                return done(f"Saved {destination}.")
            case PreviewBlob():
                return done(data=LinesData(("water at the north well", "\x1b]52;c;aGk=\x07[red]bring cans")))
            case ExportCar():
                return done(data=CountsData({"files": 1, "bytes": 1000}))
            case PauseFetch(cid=cid):
                self._put(msgspec.structs.replace(self.blobs[cid], state="paused"))
                return done("Paused.")
            case FetchBlob(cid=cid):
                self._put(msgspec.structs.replace(self.blobs[cid], state="fetching"))
                return done("Fetching in the background.")
            case Pin(cid=cid) | Unpin(cid=cid):
                self._put(msgspec.structs.replace(self.blobs[cid], pinned=isinstance(command, Pin)))
            case Invite(lifetime_s=lifetime_s):
                return done("", InviteData(INVITE, int(NOW) + lifetime_s, ("192.0.2.7:7447",)))
            case SetConfig(values=values):
                return self._set(values)
            case (
                CallRoll()
                | AnswerRoll()
                | CreateTeam()
                | JoinTeam()
                | SetRole()
                | RemoveMember()
                | RotateKey()
            ):
                pass
        return done()

    def _set(self, values: dict[str, dict[str, object]]) -> Reply:
        try:
            self.config = with_values(self.config, values, "here")
        except ConfigError as error:
            return refused("invalid", str(error.problems[0]))
        changed = {f"{section}.{key}" for section, entries in values.items() for key in entries}
        self.waiting |= changed - RELOADABLE
        self.status_now = msgspec.structs.replace(self.status_now, emcon=self.config.privacy.emcon)
        self._tell()
        return done(data=self._config())

    def _tell(self) -> None:
        if self.server is not None:
            self.server.status_changed()

    def _config(self) -> ConfigData:
        return ConfigData(to_values(self.config), tuple(sorted(self.waiting)))

    def _put(self, blob: BlobView) -> None:
        self.blobs[blob.cid] = blob
        if self.server is not None:
            self.server.blobs_happened([blob])


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


def an_event(seq: int, author: str, kind: int, text: str, *, at: float, **more: object) -> EventView:
    generator = random.Random(seq)
    fields: dict[str, object] = {
        "accepted": True,
        "verdict": "",
        "via": "this device" if author == "falcon-3" else "hub",
        "sealed": kind in (TEAM_NOTE, FILE_MANIFEST),
        "words": WORDS.get(kind, f"kind {kind}"),
        **more,
    }
    return EventView(
        seq=seq,
        id=generator.randbytes(32).hex(),
        npub=npub_of(author),
        author=author,
        created_at=int(at),
        received_at=at,
        kind=kind,
        size=300 + len(text) + generator.randrange(900),
        text=text,
        **fields,  # type: ignore[arg-type]
    )


WORDS = {
    TEXT_NOTE: "note",
    ROSTER_ENTRY: "roster",
    TEAM_NOTE: "team note",
    FILE_MANIFEST: "file",
    KEY_BUNDLE: "key bundle",
    EPOCH_GRANT: "key grant",
}

STORY: tuple[tuple[str, int, str], ...] = (
    ("hub", KEY_BUNDLE, ""),
    ("falcon-1", ROSTER_ENTRY, "medic admitted as member"),
    ("falcon-1", EPOCH_GRANT, ""),
    ("medic", TEAM_NOTE, "On the net. Two bags, one stretcher."),
    ("falcon-2", TEAM_NOTE, "North ridge is clear, moving to the saddle."),
    ("truck-1", TEAM_NOTE, "Fuel at 40 %, road 7 is open again."),
    ("falcon-3", TEAM_NOTE, "Copy. Water point is at the chapel."),
    ("falcon-2", FILE_MANIFEST, "ridge-north.geojson"),
    ("truck-1", TEAM_NOTE, "At the bridge. Waiting."),
    ("medic", TEAM_NOTE, "Need the blood list from base before dark."),
    ("base", FILE_MANIFEST, "blood-list.pdf"),
    ("falcon-1", TEAM_NOTE, "Everyone: radio check at 1400."),
)


def busy_events() -> list[EventView]:
    events: list[EventView] = []
    for seq in range(1, 61):
        at = NOW - (61 - seq) * 17
        if seq % 13 == 0:
            reason = ("invalid: signature does not match", "rate-limited: more than 50 events a second")[
                seq % 2
            ]
            events.append(
                an_event(
                    seq,
                    "",
                    TEXT_NOTE,
                    "",
                    at=at,
                    accepted=False,
                    verdict=reason,
                    via="192.0.2.44",
                    sealed=False,
                )
            )
            continue
        author, kind, text = STORY[seq % len(STORY)]
        verdict = "duplicate: already have this event" if seq % 17 == 0 else ""
        events.append(an_event(seq, author, kind, text, at=at, verdict=verdict))
    return events


def a_blob(name: str, size: int, author: str, state: str, *, at: float, **more: object) -> BlobView:
    sealed = size + size // 50 + 512
    present = {"here": sealed, "partial": sealed * 5 // 8, "fetching": sealed // 4}.get(state, 0)
    cid = "bafybei" + random.Random(name).randbytes(26).hex()
    return BlobView(cid, name, size, sealed, author, at, present, state, **more)  # type: ignore[arg-type]


def copies(*names: str) -> dict[str, object]:
    return {"copies": names, "copies_wanted": 2}


def busy_blobs() -> list[BlobView]:
    return [
        a_blob(
            "ridge-north.geojson",
            48_210,
            "falcon-2",
            "here",
            at=NOW - 700,
            pinned=True,
            **copies("falcon-2", "hub"),
        ),
        a_blob("blood-list.pdf", 212_000, "base", "elsewhere", at=NOW - 900, **copies("base")),
        a_blob("map-sheet-12.mbtiles", 184_000_000, "hub", "partial", at=NOW - 5200),
        a_blob("radio-plan.pdf", 96_400, "falcon-1", "here", at=NOW - 9000, pinned=True),
        a_blob("drone-0412.mp4", 71_800_000, "falcon-2", "fetching", at=NOW - 12_000),
        a_blob("old-photos.zip", 402_000_000, "boat", "failed", at=NOW - 80_000, error="nobody has it"),
    ]


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
