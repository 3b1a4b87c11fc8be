"""Both suites from end to end: team, link, notes, files, removal. They never mix."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from meshconsole.content.formats.cid import SHA2_256, SHA2_512, Cid
from meshconsole.core import kinds
from meshconsole.core.event import decode_event

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scripts.machine import Machine
    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GROUPS = {"MC1": "X25519MLKEM768", "MC2": "MLKEM1024"}
HASHES = {"MC1": SHA2_256, "MC2": SHA2_512}
SIGNATURE_BASE64 = {"MC1": 4412, "MC2": 6172}


@pytest.mark.parametrize("suite", ["MC1", "MC2"])
def test_a_team_lives_under_either_suite(
    suite: str, machine: Callable[[str], Machine], tmp_path: Path, init: Homes
) -> None:
    alpha, bravo = machine("alpha"), machine("bravo")
    init(alpha, "--team", "Falcon", "--suite", suite)
    init(bravo, "--suite", suite)
    for node in (alpha, bravo):
        node.start()
    bravo.command("team", "join", alpha.json("team", "invite")["text"])
    for node in (alpha, bravo):
        node.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
    assert GROUPS[suite] in alpha.peer_paths().values()
    assert alpha.json("status")["team"]["suite"] == suite

    alpha.command("send", "hello")
    bravo.wait("the note", lambda _: "hello" in bravo.texts())
    content = os.urandom(3 << 20)
    (tmp_path / "sent").write_bytes(content)
    alpha.command("blobs", "add", str(tmp_path / "sent"))
    (cid,) = [blob["cid"] for blob in alpha.json("blobs")]
    assert Cid.parse(cid).hash_code == HASHES[suite]
    bravo.wait("the manifest", lambda _: bravo.cids() == [cid])
    bravo.command("blobs", "get", cid, "-o", str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == content

    npub = bravo.json("status")["npub"]
    alpha.command("team", "remove", npub, "--yes")
    alpha.wait("the end of the link", lambda status: not any(peer["links"] for peer in status["peers"]))
    alpha.command("send", "after the removal")
    alpha.command("export", str(tmp_path / "events"))
    events = [decode_event(line) for line in (tmp_path / "events").read_bytes().splitlines()]
    entries = [event for event in events if event.kind == kinds.ROSTER_ENTRY]
    assert len(entries) == 3
    for entry in entries:
        (signature,) = [tag[2] for tag in entry.tags if tag[0] == "pqsig"]
        assert len(signature) == SIGNATURE_BASE64[suite]


def test_a_device_of_one_suite_cannot_join_a_team_of_the_other(
    machine: Callable[[str], Machine], init: Homes
) -> None:
    alpha, bravo = machine("alpha"), machine("bravo")
    init(alpha, "--team", "Falcon", "--suite", "MC2")
    init(bravo)
    for node in (alpha, bravo):
        node.start()
    done = bravo.command("team", "join", alpha.json("team", "invite")["text"], check=False)
    assert done.returncode != 0
    assert "MC1" in done.stderr
    assert "--suite MC2" in done.stderr
    assert len(alpha.json("team")) == 1
