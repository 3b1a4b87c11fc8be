"""What the node is asked for: files by absolute path, times in seconds, members by key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.cli.main import main
from meshconsole.control.audit import AuditTail
from meshconsole.control.config import SetConfig
from meshconsole.control.files import AddBlob, GetBlob, Pin, Unpin
from meshconsole.control.messages import Command, ListEvents, Stop
from meshconsole.control.notes import SendDirect, SendNote, SendPlain
from meshconsole.control.relay import ChangeRelayLists, DeleteFromRelay, Export, Import, ScanRelay
from meshconsole.control.team import CreateTeam, Invite, JoinTeam, RemoveMember, RotateKey, SetRole
from meshconsole.crypto.schnorr import npub_to_bech32
from tests.cli.falcon import BRAVO, CID

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.scripted_node import ScriptedNode

HERE = "/elsewhere/"


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("events --limit 5 --filter !ok", ListEvents(5, "!ok")),
        ("events --limit 999999", ListEvents(10_000)),
        ("audit --limit 0", AuditTail(1)),
        ("send all set", SendNote("all set")),
        ("send --to bravo meet me", SendDirect(BRAVO, "meet me")),
        ("send --to B2B2B2 meet me", SendDirect(BRAVO, "meet me")),
        (f"send --plain --to {BRAVO} meet me", SendPlain(BRAVO, "meet me")),
        (f"send --plain --to {npub_to_bech32(BRAVO)} meet me", SendPlain(BRAVO, "meet me")),
        ("blobs add map.pdf", AddBlob(HERE + "map.pdf")),
        (f"blobs get {CID} -o copy.pdf", GetBlob(CID, HERE + "copy.pdf")),
        (f"blobs get {CID}", GetBlob(CID, HERE.rstrip("/"))),
        (f"blobs pin {CID}", Pin(CID)),
        (f"blobs unpin {CID}", Unpin(CID)),
        ("team create Falcon", CreateTeam("Falcon")),
        ("team invite", Invite((), 3600, "member")),
        (
            "team invite --for 7d --role relay --address a:1 --address b:2",
            Invite(("a:1", "b:2"), 604_800, "relay"),
        ),
        ("team join MC1-ABC", JoinTeam("MC1-ABC")),
        ("team role bravo observer", SetRole(BRAVO, "observer")),
        ("team remove B2B2B2 --yes", RemoveMember(BRAVO)),
        ("team rotate", RotateKey()),
        ("import map.pdf", Import(HERE + "map.pdf")),
        ("import map.pdf --again --refused aside", Import(HERE + "map.pdf", False, HERE + "aside")),
        ("export out.jsonl", Export(HERE + "out.jsonl")),
        ("relay export out.jsonl --kind 1 --kind 7", Export(HERE + "out.jsonl", '{"kinds":[1,7]}')),
        (
            'relay scan {"kinds":[1]} --kind 7 --tag t=x --since 1700000000 --until 2026-01-01',
            ScanRelay('{"kinds":[1,7],"#t":["x"],"since":1700000000,"until":1767225600}', 7),
        ),
        (f"relay scan --author {BRAVO.upper()}", ScanRelay(f'{{"authors":["{BRAVO}"]}}', 7)),
        (f"relay ban key {BRAVO.upper()} --reason spam", ChangeRelayLists("banpubkey", BRAVO, "spam")),
        (f"relay allow key {npub_to_bech32(BRAVO)}", ChangeRelayLists("allowpubkey", BRAVO)),
        (f"relay unallow event {BRAVO}", ChangeRelayLists("unallowevent", BRAVO)),
        ("relay ban kind 7", ChangeRelayLists("disallowkind", "7")),
        ("relay unban kind 4", ChangeRelayLists("allowkind", "4")),
        ("relay ban address 192.0.2.7", ChangeRelayLists("blockip", "192.0.2.7")),
        ("config set limits.max_connections=8", SetConfig({"limits": {"max_connections": "8"}})),
        ("stop", Stop()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_command(line: str, command: Command, node: ScriptedNode, tmp_path: Path) -> None:
    (tmp_path / "map.pdf").write_text("a map")
    assert main(line.split()) == 0
    asked = node.commands[-1]
    expected = {
        name: value.replace(HERE.rstrip("/"), str(tmp_path)) if isinstance(value, str) else value
        for name, value in vars_of(command).items()
    }
    assert type(asked) is type(command)
    assert vars_of(asked) == expected


def vars_of(command: Command) -> dict[str, object]:
    return {name: getattr(command, name) for name in command.__struct_fields__}


@pytest.mark.parametrize(("typed", "removed"), [("12", True), ("yes", False)])
def test_what_cannot_be_undone_asks_for_the_number(
    node: ScriptedNode, monkeypatch: pytest.MonkeyPatch, typed: str, removed: bool
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: typed)
    code = main(["relay", "delete", "--kind", "1"])
    assert (code == 0) is removed
    filter_text = '{"kinds":[1]}'
    asked = [DeleteFromRelay(filter_text, dry_run=True)]
    assert node.commands == asked + [DeleteFromRelay(filter_text, dry_run=False)] * removed


@pytest.mark.parametrize("text", ["¹d", f"{'9' * 5000}d", "٣d"])
def test_digits_that_are_none_are_no_time(node: ScriptedNode, text: str) -> None:
    assert main(["team", "invite", "--for", text]) == 2
    assert node.commands == []
