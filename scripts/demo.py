"""The main job on real input: two nodes, one team, played from start to finish without a terminal.

Real processes in a temporary folder, real commands, real sockets. Prints each step with its measured
time and ends with a non-zero exit code at the first step that fails. Run by `make demo`.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nostr_sdk import Client, EventBuilder, Filter, Keys, Kind, RelayUrl, ReqTarget

from meshconsole.core.errors import Unavailable
from scripts.machine import PATIENCE, Failure, Listener, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOTE_LIMIT_S = 1.0 * PATIENCE
FILE_BYTES = 5_000_000


def expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise Failure(otherwise)


class Demo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.a = Machine(folder, "alpha")
        self.b = Machine(folder, "bravo")
        self.stranger = Machine(folder, "stranger")
        self.cid = ""
        self.file = folder / "map.bin"

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "two homes, one new team", self.create
        yield "an invite, and the second node joins with it", self.join
        yield "found by mDNS, linked by WebSocket with post-quantum TLS", self.link
        yield "a data channel named nostr-events beside it", self.data_channel
        yield "a note from alpha to bravo", lambda: self.note(self.a, self.b)
        yield "a note from bravo to alpha", lambda: self.note(self.b, self.a)
        yield "a file, sealed on alpha, fetched by CID on bravo", self.carry_file
        yield "an outside client is kept out, then let in", self.outside_client
        yield "another author's note, imported", self.import_notes
        yield "bravo killed and started again: nothing lost, caught up", self.crash
        yield "every pane in plain text and as JSON", self.plain_text
        yield "limits are held, and say so", self.limits
        yield "a stranger on the network was refused", self.refuse_stranger
        yield "both stop in good order", self.stop

    def create(self) -> str:
        self.a.command("init", "--yes", "--name", "alpha", "--team", "Falcon")
        self.b.command("init", "--yes", "--name", "bravo")
        self.a.start()
        self.b.start()
        return f"serving on {self.a.address} and {self.b.address}"

    def join(self) -> str:
        printed = self.a.command("team", "invite").stdout
        invite = self.a.json("team", "invite")["text"]
        expect(len(invite.encode()) <= 200, f"the invite has {len(invite)} bytes")
        expect("█" in printed or "▀" in printed or "##" in printed, "no QR code was printed")
        self.b.command("team", "join", invite)
        again = self.stranger_home().command("team", "join", invite, check=False)
        self.stranger.command("team", "create", "Impostors")  # from now on it tries to link up
        expect(again.returncode != 0 and "used" in again.stderr, f"a used invite was taken: {again.stderr}")
        return f"invite of {len(invite)} bytes; used a second time: refused"

    def stranger_home(self) -> Machine:
        self.stranger.command("init", "--yes", "--name", "stranger")
        self.stranger.start()
        return self.stranger

    def link(self) -> str:
        for machine in (self.a, self.b):
            machine.wait("a WebSocket link", lambda status: "websocket" in paths(status))
        group = self.a.peer_paths()["websocket"]
        expect(group == "X25519MLKEM768", f"the group is {group}")
        lines = " ".join(self.b.json("status")["discovery"])
        expect("mdns" in lines.lower(), f"mDNS says nothing: {lines}")
        return f"group {group}"

    def data_channel(self) -> str:
        for machine in (self.a, self.b):
            machine.wait("a data channel", lambda status: "webrtc" in paths(status))
        links = [link for peer in self.a.json("status")["peers"] for link in peer["links"]]
        channels = [link["channel"] for link in links if link["path"] == "webrtc"]
        expect(channels == ["nostr-events"], f"the channels are {channels}")
        return f"{len(links)} links between the pair"

    def refuse_stranger(self) -> str:
        broken = [line for line in self.stranger.json("status")["discovery"] if "mdns: does not work" in line]
        if broken:  # an emulated processor's sockets, for one
            how = f"asked by its address, since {broken[0]}"
            asked = self.stranger.command("why", self.a.address, check=False).stdout
            expect("other-team" in asked, f"the stranger was told: {asked}")
        else:
            how = "found by mDNS"
            self.stranger.wait("a refusal", lambda status: links_refused(status) > 0)
            self.a.wait("a refusal", lambda status: links_refused(status) > 0)
        names = {member["name"] for member in self.a.json("team", "members")}
        expect(names == {"alpha", "bravo"}, f"the team is {names}")
        expect(not paths(self.stranger.json("status")), "the stranger has a link")
        self.stranger.kill()
        return f"no link, no membership; {how}"

    def note(self, sender: Machine, receiver: Machine) -> str:
        text = f"from {sender.name} {secrets.token_hex(4)}"
        listener = Listener(receiver)
        began = time.monotonic()
        sender.command("send", text)
        listener.wait_for(text)
        took = time.monotonic() - began
        expect(took < NOTE_LIMIT_S, f"it took {took:.2f} s")
        return f"shown after {took * 1000:.0f} ms, starting the command included"

    def carry_file(self) -> str:
        data = secrets.token_bytes(FILE_BYTES)
        self.file.write_bytes(data)
        listener = Listener(self.b)
        added = self.a.json("blobs", "add", str(self.file))
        self.cid = added[0]["cid"] if isinstance(added, list) else added["cid"]
        listener.wait_for(self.cid)
        copy = self.folder / "copy.bin"
        began = time.monotonic()
        self.b.command("blobs", "get", self.cid, "-o", str(copy))
        took = time.monotonic() - began
        expect(hashlib.sha256(copy.read_bytes()).digest() == hashlib.sha256(data).digest(), "bytes differ")
        return f"{FILE_BYTES / 1e6:.0f} MB in {took:.2f} s, {self.cid[:16]}…"

    def outside_client(self) -> str:
        kept_out = asyncio.run(publish(self.a.address, "let me in"))
        expect(not kept_out, "an unknown client could publish to a team-only relay")
        self.a.command("config", "set", "privacy.share_with_team_only=false")
        self.a.command("config", "set", "privacy.require_authentication=false")
        published = asyncio.run(publish(self.a.address, "hello from outside"))
        expect(published, "an outside client could not publish to the public relay")
        expect("hello from outside" in self.a.texts(), "its note is not shown")
        return "refused while team-only, served once public (nostr-sdk)"

    def import_notes(self) -> str:
        lines = self.folder / "notes.jsonl"
        author = Keys.generate()
        notes = [EventBuilder(Kind(1), f"imported {n}").finalize(author).as_json() for n in range(20)]
        lines.write_text("\n".join(notes) + "\n")
        self.a.command("import", str(lines))
        shown = [text for text in self.a.texts() if text.startswith("imported ")]
        expect(len(shown) == 20, f"{len(shown)} of 20 are shown")
        served = asyncio.run(query(self.a.address, author))
        expect(served == 20, f"{served} of 20 are served")
        return "20 stored, shown and served"

    def crash(self) -> str:
        acknowledged = f"acknowledged {secrets.token_hex(4)}"
        self.b.command("send", acknowledged)
        self.b.kill(signal.SIGKILL)
        missed = [f"missed {number} {secrets.token_hex(4)}" for number in range(10)]
        for text in missed:
            self.a.command("send", text)
        began = time.monotonic()
        self.b.start()
        self.b.wait("a link", lambda status: bool(paths(status)))
        self.b.wait("the catch-up", lambda status: set(missed) <= set(self.b.texts()))
        took = time.monotonic() - began
        expect(acknowledged in self.b.texts(), "an acknowledged note is gone")
        self.a.wait("bravo's last note", lambda status: acknowledged in self.a.texts())
        return f"reconnected and caught up 10 notes in {took:.2f} s after the restart"

    def plain_text(self) -> str:
        for pane in ("status", "peers", "events", "blobs", "limits", "team members", "audit"):
            plain = self.a.command(*pane.split()).stdout
            expect(plain.strip(), f"`{pane}` prints nothing")
            self.a.json(*pane.split())
        return "status, peers, events, blobs, limits, team, audit"

    def limits(self) -> str:
        self.a.command("config", "set", "limits.max_storage_mb=1")
        big = self.folder / "big.bin"
        big.write_bytes(secrets.token_bytes(2_000_000))
        refused = self.a.command("blobs", "add", str(big), check=False)
        expect(refused.returncode != 0 and "quota" in refused.stderr, f"not refused: {refused.stderr}")
        self.a.command("config", "set", "limits.max_storage_mb=512")
        return refused.stderr.strip().removeprefix("meshconsole: ")[:70]

    def stop(self) -> str:
        for machine in (self.a, self.b):
            machine.command("stop")
            expect(machine.process is not None, "no process")
            assert machine.process is not None
            expect(machine.process.wait(timeout=10 * PATIENCE) == 0, f"{machine.name} ended badly")
            machine.process = None
        leftovers = [m.name for m in (self.a, self.b) if "Traceback" in m.log.read_text()]
        expect(not leftovers, f"tracebacks in the logs of {leftovers}")
        return "exit code 0, no traceback in the logs"

    def clean_up(self) -> None:
        for machine in (self.a, self.b, self.stranger):
            machine.kill()


def paths(status: dict[str, Any]) -> set[str]:
    return {link["path"] for peer in status["peers"] for link in peer["links"]}


def links_refused(status: dict[str, Any]) -> int:
    """How often this node has refused a link, or was refused one."""
    counts: dict[str, int] = status["limits"]["refusals"]
    return sum(count for reason, count in counts.items() if reason.startswith("link:"))


async def publish(address: str, text: str) -> bool:
    event = EventBuilder(Kind(1), text).finalize(Keys.generate())
    client = await connected(address)
    output = await client.send_event(event)
    await client.shutdown()
    return bool(output.success)


async def query(address: str, author: Keys) -> int:
    client = await connected(address)
    wanted = Filter().author(author.public_key()).kind(Kind(1))
    events = await client.fetch_events(ReqTarget.auto([wanted]))
    await client.shutdown()
    return len(events)


async def connected(address: str) -> Client:
    client = Client()
    await client.add_relay(RelayUrl.parse(f"ws://{address}"))
    await client.connect(and_wait=timedelta(seconds=5 * PATIENCE))
    return client


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="meshconsole-demo-"))
    demo = Demo(folder)
    began = time.monotonic()
    try:
        for number, (title, step) in enumerate(demo.steps(), 1):
            start = time.monotonic()
            try:
                detail = step()
            except (Failure, Unavailable, OSError, subprocess.SubprocessError) as error:
                print(f"{number:>2}. FAILED  {title}\n    {error}", flush=True)
                return 1
            print(
                f"{number:>2}. {time.monotonic() - start:6.2f} s  {title}\n              {detail}", flush=True
            )
        print(f"    {time.monotonic() - began:6.2f} s  in all")
        return 0
    finally:
        demo.clean_up()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
