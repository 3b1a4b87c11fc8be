"""A node's control socket with fixed answers, in a thread of its own: what the command line talks to."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import msgspec

from meshconsole.control import edge as e
from meshconsole.control import files as f
from meshconsole.control import guests as g
from meshconsole.control import notes as n
from meshconsole.control import reach as c
from meshconsole.control import relay as r
from meshconsole.control import team as t
from meshconsole.control.audit import AuditTail
from meshconsole.control.config import ConfigCommand, ConfigData, GetConfig, ReloadConfig, SetConfig
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
from meshconsole.control.server import ControlServer
from meshconsole.core.config import Config, changed_keys, to_values, with_values
from meshconsole.core.errors import Fatal
from tests.cli.falcon import (
    BLOBS,
    BLOCKED,
    BRAVO,
    CHARLIE,
    CID,
    EDGE,
    EVENTS,
    FINDINGS,
    GUESTS,
    HOPS,
    HOSTILE,
    INVITE,
    JOBS,
    LINKED,
    NOW,
    PINS,
    ROUNDABOUT,
    STATUS,
    STORED,
    STRAIGHT,
    TOKENS,
    TRACKS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from meshconsole.control.server import Report
    from meshconsole.core.status import NodeStatus


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
        if isinstance(command, c.ReachCommand):
            return _about_reach(command)
        if isinstance(command, f.FileCommand):
            return _about_files(command, report)
        if isinstance(command, n.NoteCommand):
            return _about_notes(command)
        if isinstance(command, t.TeamCommand):
            return _about_team(command)
        if isinstance(command, r.RelayCommand):
            return _about_relay(command)
        if isinstance(command, e.EdgeCommand):
            return _about_edge(command)
        if isinstance(command, g.GuestCommand):
            return _about_guests(command)
        if isinstance(command, ConfigCommand):
            return self._about_config(command)
        match command:
            case ListEvents(limit=limit, filter=wanted):
                shown = [event for event in EVENTS if wanted in event.text]
                return done(data=EventsData(tuple(shown[-limit:])))
            case GetHistory():
                return done(data=HistoryData(TRACKS))
            case AuditTail():
                return done(
                    data=LinesData(("1  2023-11-14 22:13:20  node started", f"2  ...  {HOSTILE} joined"))
                )
            case Stop():
                self.stopping.set()
                return done()
            case _:
                return done("Done.")

    def _about_config(self, command: ConfigCommand) -> Reply:
        match command:
            case ReloadConfig():
                return done("Read again.", ConfigData(to_values(self.config)))
            case GetConfig():
                return done(data=ConfigData(to_values(self.config)))
            case SetConfig(values=values):
                old, self.config = self.config, with_values(self.config, values)
                waiting = sorted(changed_keys(old, self.config) & {"node.listen", "node.name"})
                return done(data=ConfigData(to_values(self.config), tuple(waiting)))


def _about_notes(command: n.NoteCommand) -> Reply:
    match command:
        case n.SendNote(text=text) if len(text) > 1000:
            return refused(
                "restricted", "The storage quota of 512 MB is used up.", "Raise it, or unpin files."
            )
        case n.CallRoll(text=text):
            return done(f"Called: {text}.")
        case n.AnswerRoll(word=word):
            return done(f"Answered: {word}.")
        case n.MarkRead():
            return done("Its author is told that it was read.")
        case n.SendNote():
            return done(data=EventsData(EVENTS[:1]))
        case n.SendDirect(npub=npub):
            assert STATUS.team is not None
            name = next(member.name for member in STATUS.team.members if member.npub == npub)
            sent = msgspec.structs.replace(EVENTS[0], kind=4206, words="direct", to=name)
            return done("Sent.", EventsData((sent,)))
        case n.SendPlain(text="not allowed"):
            return refused(
                "restricted",
                "The team's rule plain_messages is off: nothing is sent that is not post-quantum.",
                "An admin may change it: meshconsole team policy plain_messages=on",
            )
        case n.SendPlain():
            return done("Sent. It is not post-quantum.", EventsData(EVENTS[:1]))


def _about_files(command: f.FileCommand, report: Report) -> Reply:
    match command:
        case f.ListBlobs():
            return done(data=f.BlobsData(BLOBS))
        case f.AddBlob():
            return done(data=f.BlobsData(BLOBS[:1]))
        case f.ListJobs():
            return done(data=f.JobsData(JOBS))
        case f.PauseFetch():
            return done("Paused. Go on: meshconsole blobs resume CID")
        case f.ScrubBlobs():
            sentence = "Damaged blocks were set aside and are fetched again from teammates who hold them."
            return done(sentence, CountsData({"read": 48, "damaged": 1}))
        case f.GetBlob(cid=cid) if cid != CID:
            return refused("invalid", "No file of the team has this CID.", "See: meshconsole blobs")
        case f.GetBlob(destination=destination):
            report(1, 2, "map.pdf")
            return done(f"Wrote map.pdf into {destination}.")
        case _:
            return done("Done.")


def _about_team(command: t.TeamCommand) -> Reply:
    match command:
        case t.Invite(lifetime_s=lifetime):
            return done(data=t.InviteData(INVITE, int(NOW) + lifetime, ("192.0.2.7:7447",)))
        case t.ListInvites():
            return done(data=t.InvitesData((t.OpenInvite("0a1b2c3d4e5f6071", int(NOW) + 3600, "member"),)))
        case t.SetPolicy():
            return done("Every node of the team applies this as soon as it hears of it.")
        case t.SetRole(role="relay"):
            return done(
                "A second admin must agree: meshconsole team agree 0a1b2c3d", t.ProposedData("0a1b2c3d")
            )
        case t.AgreeToProposal():
            return done("Every node of the team applies this as soon as it hears of it.")
        case t.RefuseProposal():
            return done("Done.")
        case t.RevokeInvite():
            return done("The invite lets nobody in any more.")
        case t.JoinTeam(invite="MC1-USED"):
            return refused("restricted", "This invite was used already.", "Ask for a new one.")
        case t.JoinTeam():
            return done("Joined Falcon as member.")
        case t.CreateTeam() | t.SetRole() | t.RemoveMember():
            return done()
        case _:
            return done("Done.")


def _about_relay(command: r.RelayCommand) -> Reply:
    match command:
        case r.Import() | r.ImportLines():
            return done(data=CountsData({"new": 2, "already here": 1, "refused": 0}))
        case r.ScanRelay(filter=wanted) if "nonsense" in wanted:
            return refused("unsupported", "this filter field is not known here: nonsense")
        case r.ScanRelay(after=after):
            events = STORED[:1] if after is None else STORED[1:]
            return done(data=r.PageData(events, 7 if after is None else None))
        case r.DeleteFromRelay(filter=wanted) if "4242" in wanted:
            return done(data=r.RemovedData((r.RemovedClass("matching", 0, 0),)))
        case r.DeleteFromRelay():
            return done(data=r.RemovedData((r.RemovedClass("matching", 12, 4800),)))
        case r.EvictFromRelay():
            rows = (r.RemovedClass("others' events", 90, 40_000), r.RemovedClass("the team's events", 0, 0))
            return done(data=r.RemovedData(rows))
        case r.ShowRelayLists() | r.ChangeRelayLists():
            return done(
                data=r.ListsData(
                    {BRAVO: HOSTILE}, {CHARLIE: ""}, {"e5" * 32: ""}, {}, {"192.0.2.7": "flood"}, (), (4,)
                )
            )
        case r.BackUpRelay(path=path):
            return done(f"Copied to {path}; it opens with this home's keys only.")
        case r.VacuumRelay():
            counts = {"pages given back": 300, "bytes before": 3_200_000, "bytes now": 2_000_000}
            return done(data=CountsData(counts))
        case r.Export():
            return done(data=CountsData({"written": 1200}))


def _about_reach(command: c.ReachCommand) -> Reply:
    match command:
        case c.PingPeer(who="bravo"):
            return done(data=c.PongData(STRAIGHT))
        case c.PingPeer(who="charlie"):
            return done(data=c.PongData(ROUNDABOUT))
        case c.PingPeer() | c.TracePeer(who="delta"):
            raise Fatal("The team has no device 'delta'.", hint="See: meshconsole team members")
        case c.TracePeer():
            return done(data=c.HopsData(HOPS))
        case c.WhyPeer(who=who):
            return done(data=c.DiagnosisData(LINKED if who == "bravo" else BLOCKED))
        case c.Netcheck():
            return done(data=c.FindingsData(FINDINGS))


def _about_edge(command: e.EdgeCommand) -> Reply:
    match command:
        case e.ShowEdge():
            return done(data=e.EdgeData(EDGE, TOKENS, 3, 1_500_000))
        case e.MakeToken(name="ridge-kubo"):
            return refused(
                "invalid",
                "There is a token ridge-kubo already.",
                "Choose another name, or first: meshconsole edge revoke ridge-kubo",
            )
        case e.MakeToken():
            return done(data=e.TokenData("mc_K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72ol_pe_Unols"))
        case e.RevokeToken(unpin=unpin):
            return done(
                "Nobody may use it any more, and 2 pins are lifted."
                if unpin
                else "Nobody may use it any more. What it has pinned stays pinned."
            )
        case e.ListPins():
            return done(data=e.PinsData(PINS))


def _about_guests(command: g.GuestCommand) -> Reply:
    match command:
        case g.OpenGuestLink(link_s=link_s):
            return done(data=g.GuestLinkData("http://127.0.0.1:7450/#mOEp1Z4dxJzp4BqKSrU0tA", NOW + link_s))
        case g.ListGuests():
            return done(data=g.GuestsData(GUESTS))
        case g.AdmitGuest(code="048213"):
            return done("Carl is a guest now.", g.GuestsData(GUESTS))
        case g.AdmitGuest() | g.RefuseGuest(code="1"):
            return refused(
                "invalid", "No browser shows that code now.", "See who waits: meshconsole guest list"
            )
        case g.RefuseGuest():
            return done("That browser was told no.")
        case g.RemoveGuest(who=who):
            return done(f"{who} is no guest any more.")
        case g.SayToGuests():
            return done("Said to the guests. It is not sealed.", EventsData(EVENTS[:1]))


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
