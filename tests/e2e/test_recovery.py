"""The drill of docs/recovery.md, step by step: a device is lost, and what a backup brings back."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import select
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from meshconsole.crypto.schnorr import nsec_to_bech32, public_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scripts.machine import Machine
    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PASSPHRASE = "a long backup passphrase"


@pytest.fixture
def age() -> str:
    found = shutil.which("age")
    if found is None:
        pytest.skip("the age tool is not installed (Debian: apt install age)")
    return found


def backup(machine: Machine, *arguments: str) -> str:
    return machine.command("backup", *arguments).stdout


def seed_text(machine: Machine) -> str:
    (found,) = re.findall(r"^mcseed1\w+$", backup(machine, "seed", "--no-qr"), re.MULTILINE)
    return str(found)


def share_phrases(machine: Machine) -> list[str]:
    """As somebody would copy them from the screen: the words in the order of their numbers."""
    parts = re.split(r"^share .*$", backup(machine, "shares"), flags=re.MULTILINE)[1:]
    return [" ".join(word for _, word in re.findall(r"(\d+) ([a-z]+)", part)) for part in parts]


def key_of(machine: Machine) -> str:
    return str(machine.json("status")["npub"])


@pytest.mark.parametrize("form", ["text", "shares"])
def test_a_dead_device_comes_back_from_its_backup(
    form: str, alpha: Machine, bravo: Machine, tmp_path: Path
) -> None:
    npub = key_of(bravo)
    kept = tmp_path / "kept"
    kept.write_text(seed_text(bravo) if form == "text" else "\n".join(share_phrases(bravo)[1:4]))
    alpha.command("send", "written before")
    bravo.wait("the note", lambda _: "written before" in bravo.texts())
    bravo.kill()
    shutil.rmtree(bravo.home)
    alpha.command("send", "written while it was away")

    bravo.command("init", "--yes", "--name", "bravo", "--restore", str(kept))
    bravo.start()
    bravo.command("team", "join", alpha.json("team", "invite")["text"])
    bravo.wait("a link", lambda status: any(peer["links"] for peer in status["peers"]))
    assert key_of(bravo) == npub
    wanted = {"written before", "written while it was away"}
    bravo.wait("the notes", lambda _: wanted <= set(bravo.texts()))
    members = [member["npub"] for member in alpha.json("team")]
    assert len(members) == 2, "the same device, not another one"
    assert npub in members
    bravo.command("send", "back again")
    alpha.wait("its note", lambda _: "back again" in alpha.texts())


def test_two_shares_or_a_typing_error_restore_nothing(
    alpha: Machine, machine: Callable[[str], Machine], tmp_path: Path
) -> None:
    phrases = share_phrases(alpha)
    assert len(phrases) == 5
    fresh = machine("fresh")
    kept = tmp_path / "kept"
    text = seed_text(alpha)
    wrong_letter = text[:20] + ("q" if text[20] != "q" else "p") + text[21:]
    for given, words in (
        ("\n".join(phrases[:2]), "2 different shares were given, and 3 are needed"),
        ("\n".join([phrases[0]] * 3), "1 different shares were given"),
        (phrases[0].replace(phrases[0].split()[9], "academic", 1), "Share 1 is not right"),
        (wrong_letter, "typing error"),
        ("", "No backup was given"),
        ("npub1" + "q" * 58, "checksum"),
    ):
        kept.write_text(given)
        done = fresh.command("init", "--yes", "--restore", str(kept), check=False)
        assert done.returncode != 0
        assert words in done.stderr
        assert not fresh.home.exists()


def test_a_nostr_key_of_ones_own(machine: Callable[[str], Machine], tmp_path: Path) -> None:
    secret = bytes(range(1, 33))
    given = tmp_path / "nsec"
    given.write_text(nsec_to_bech32(secret))
    node = machine("own")
    node.command("init", "--yes", "--name", "own", "--team", "Falcon", "--import-nsec", str(given))
    node.start()
    assert key_of(node) == public_key(secret)
    assert nsec_to_bech32(secret) in backup(node, "nsec", "--no-qr")
    kept = tmp_path / "kept"
    kept.write_text(seed_text(node))
    again = machine("again")
    again.command("init", "--yes", "--restore", str(kept))
    assert nsec_to_bech32(secret) in backup(again, "nsec", "--no-qr")


def test_the_age_tool_opens_the_epoch_keys_for_a_recipient(alpha: Machine, age: str, tmp_path: Path) -> None:
    identity = tmp_path / "age.txt"
    subprocess.run([f"{age}-keygen", "-o", str(identity)], check=True, capture_output=True)
    recipient = re.findall(r"age1\w+", identity.read_text())[0]
    file = tmp_path / "keys.age"
    assert "not post-quantum" in backup(alpha, "keys", str(file), "--to", recipient)
    assert file.stat().st_mode & 0o777 == 0o600
    opened = subprocess.run([age, "-d", "-i", str(identity), str(file)], check=True, capture_output=True)
    document = json.loads(opened.stdout)
    assert document["name"] == "Falcon"
    assert [epoch["n"] for epoch in document["epochs"]] == [1]


def test_the_age_file_opens_what_was_sealed_without_this_program(
    alpha: Machine, age: str, tmp_path: Path
) -> None:
    """From the age file, an export and standard parts alone: two epochs, one note in each."""
    alpha.command("send", "in the first epoch")
    alpha.command("team", "rotate")
    alpha.command("send", "in the second epoch")
    given = tmp_path / "passphrase"
    given.write_text(PASSPHRASE)
    file, export = tmp_path / "keys.age", tmp_path / "events.jsonl"
    said = backup(alpha, "keys", str(file), "--backup-passphrase-file", str(given))
    assert "2 epoch keys" in said
    assert "not post-quantum" not in said
    alpha.command("export", str(export))
    document = json.loads(typed([age, "-d", str(file)], PASSPHRASE))
    events = [json.loads(line) for line in export.read_text().splitlines()]
    texts = {opened for event in events for opened in opened_by_hand(event, document)}
    assert texts == {"in the first epoch", "in the second epoch"}
    again = alpha.command("backup", "keys", str(file), "--backup-passphrase-file", str(given), check=False)
    assert "exists already" in again.stderr
    assert any("keys-exported" in line for line in alpha.command("audit").stdout.splitlines())


def test_keys_that_the_age_tool_sealed_anew_open_what_was_written_before_a_device_came(
    alpha: Machine, machine: Callable[[str], Machine], age: str, tmp_path: Path, init: Homes
) -> None:
    alpha.command("team", "policy", "history=joining")
    alpha.command("send", "before bravo came")
    identity, file, anew = tmp_path / "age.txt", tmp_path / "keys.age", tmp_path / "anew.age"
    subprocess.run([f"{age}-keygen", "-o", str(identity)], check=True, capture_output=True)
    recipient = re.findall(r"age1\w+", identity.read_text())[0]
    backup(alpha, "keys", str(file), "--to", recipient)
    opened = subprocess.run([age, "-d", "-i", str(identity), str(file)], check=True, capture_output=True)
    sealed = [age, "-r", recipient, "-o", str(anew)]
    subprocess.run(sealed, input=opened.stdout, check=True)

    bravo = machine("bravo")
    init(bravo)
    bravo.start()
    bravo.command("team", "join", alpha.json("team", "invite")["text"])
    bravo.wait("the events", lambda _: bravo.json("status")["storage"]["events_count"] > 4)
    assert "before bravo came" not in bravo.texts()
    refused = bravo.command("backup", "restore-keys", str(anew), check=False)
    assert "--identity" in refused.stderr
    said = backup(bravo, "restore-keys", str(anew), "--identity", str(identity))
    assert "1 epoch keys are back" in said
    bravo.wait("the note", lambda _: "before bravo came" in bravo.texts())
    assert any("keys-restored" in line for line in bravo.command("audit").stdout.splitlines())
    bravo.kill()
    bravo.start()
    assert "before bravo came" in bravo.texts()


def opened_by_hand(event: dict[str, Any], document: dict[str, Any]) -> list[str]:
    """docs/protocol.md, Team, in twenty lines."""

    def raw(part: bytes | str | int) -> bytes:
        if isinstance(part, int):
            return part.to_bytes(8, "big")
        return part.encode() if isinstance(part, str) else part

    def lp(*parts: bytes | str | int) -> bytes:
        return b"".join(len(raw(part)).to_bytes(4, "big") + raw(part) for part in parts)

    kids = [tag[1] for tag in event["tags"] if tag[0] == "k"]
    team = bytes.fromhex(document["team"])
    for epoch in document["epochs"]:
        if kids == [epoch["commit"][:16]] and "h" in {tag[0] for tag in event["tags"]}:
            info = lp("mc/epoch/v1", team, epoch["n"], "event")
            key = HKDFExpand(SHA512(), 32, info).derive(bytes.fromhex(epoch["secret"]))
            context = lp(
                "mc/sealed-event/v1", team, epoch["n"], event["kind"], bytes.fromhex(event["pubkey"])
            )
            opener = Cobblestone256Decryptor(key, context)
            padded = opener.update(base64.b64decode(event["content"])) + opener.finalize()
            inner = json.loads(padded[8 : 8 + int.from_bytes(padded[:8], "big")])
            return [str(inner["content"])]
    return []


def typed(command: list[str], passphrase: str) -> str:
    """What a program prints that asks for a passphrase at its terminal and nowhere else."""
    read_end, write_end = os.pipe()
    child, terminal = pty.fork()
    if child == 0:
        os.dup2(write_end, 1)
        os.execv(command[0], command)
    os.close(write_end)
    asked = b""
    while b":" not in asked and select.select([terminal], [], [], 30)[0]:
        asked += os.read(terminal, 1024)
    os.write(terminal, passphrase.encode() + b"\n")
    with os.fdopen(read_end) as output:
        text = output.read()
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0, asked
    return text
