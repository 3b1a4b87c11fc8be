"""What people and disks do wrong: each gets a sentence, an exit code, and loses nothing."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts.machine import COMMAND, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def start_fails(machine: Machine, *options: str, passphrase: str | None = None) -> str:
    """Starts a node that must not start. Returns what it said."""
    given = {} if passphrase is None else {"MESHCONSOLE_PASSPHRASE": passphrase}
    done = subprocess.run(
        [*COMMAND, "node", "--home", str(machine.home), "--listen", "127.0.0.1:0", *options],
        env=machine.environment | given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr + done.stdout
    return done.stderr


def refused(machine: Machine, *arguments: str) -> str:
    done = machine.command(*arguments, check=False)
    assert done.returncode != 0
    return done.stderr


@pytest.fixture
def made(machine: Callable[[str], Machine], init: Homes) -> Machine:
    """A home whose node does not run."""
    node = machine("made")
    init(node, "--team", "Falcon")
    return node


def test_a_wrong_passphrase(machine: Callable[..., Machine], init: Homes) -> None:
    node = machine("locked", passphrase="the right one")
    init(node)
    before = (node.home / "keystore").read_bytes()
    assert "passphrase" in start_fails(node, passphrase="not this one")
    assert (node.home / "keystore").read_bytes() == before
    node.start()


def test_a_home_that_holds_a_node_already(made: Machine) -> None:
    before = (made.home / "keystore").read_bytes()
    assert "already" in refused(made, "init", "--yes", "--name", "again")
    assert (made.home / "keystore").read_bytes() == before


def test_a_second_node_on_the_same_home(made: Machine) -> None:
    made.start()
    assert "already runs" in start_fails(made)
    assert made.json("status")["name"] == "made"


def test_a_busy_port(alpha: Machine, made: Machine) -> None:
    said = start_fails(made, "--listen", alpha.address)
    assert alpha.address.rpartition(":")[2] in said
    assert "node.listen" in said


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:99999", "::1:7447", "127.0.0.1:"])
def test_an_address_that_is_none(made: Machine, listen: str) -> None:
    assert "HOST:PORT" in start_fails(made, "--listen", listen)


def test_a_folder_that_may_not_be_written(machine: Callable[[str], Machine]) -> None:
    node = machine("nowhere")
    node.home = Path("/sys/meshconsole")
    assert "Cannot" in refused(node, "init", "--yes", "--name", "x")


def test_a_malformed_invite(machine: Callable[[str], Machine], init: Homes) -> None:
    node = machine("made")
    init(node)
    node.start()
    for invite in ("hello", "MC1-AAAA", "MC1-" + "A" * 150, "mc1 " * 60):
        assert "not an invite" in refused(node, "team", "join", invite)


def test_a_used_invite(
    alpha: Machine, bravo: Machine, machine: Callable[[str], Machine], init: Homes
) -> None:
    invite = alpha.json("team", "invite")["text"]
    third, fourth = machine("charlie"), machine("delta")
    for node in (third, fourth):
        init(node)
        node.start()
    third.command("team", "join", invite)
    assert "used already" in refused(fourth, "team", "join", invite)
    assert len(alpha.json("team", "members")) == 3


def test_an_invite_whose_maker_cannot_be_reached(
    alpha: Machine, machine: Callable[[str], Machine], init: Homes
) -> None:
    invite = alpha.json("team", "invite")["text"]
    alpha.kill()
    node = machine("late")
    init(node)
    node.start()
    assert "reach" in refused(node, "team", "join", invite)


def test_settings_that_do_not_fit_are_all_named(made: Machine) -> None:
    said = start_fails(made, "--set", "limits.max_storage_mb=lots", "--set", "relay.dance=1")
    assert "limits.max_storage_mb" in said
    assert "relay.dance" in said


def test_a_damaged_database_is_named_and_kept(made: Machine) -> None:
    database = made.home / "node.db"
    damaged = bytearray(database.read_bytes())
    for position in range(40, len(damaged), 1024):
        damaged[position] ^= 0xFF
    database.write_bytes(damaged)
    assert "node.db" in start_fails(made)
    assert database.read_bytes() == damaged


def test_a_changed_audit_log_is_named(made: Machine) -> None:
    made.start()
    made.command("stop")
    log = made.home / "audit.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[1:]))
    assert "line 1" in start_fails(made)


def test_a_truncated_block_is_noticed_and_fetched_again(
    alpha: Machine, bravo: Machine, tmp_path: Path
) -> None:
    original = tmp_path / "photo.raw"
    original.write_bytes(secrets.token_bytes(300_000))
    cid = alpha.json("blobs", "add", str(original))[0]["cid"]
    bravo.wait("the manifest", lambda _: cid in bravo.cids())
    first, second = tmp_path / "first", tmp_path / "second"
    bravo.command("blobs", "get", cid, "-o", str(first))
    blocks = [p for p in (bravo.home / "blobs").rglob("*") if p.is_file() and p.stat().st_size > 200_000]
    assert blocks
    for block in blocks:
        os.truncate(block, 1000)
    bravo.command("blobs", "get", cid, "-o", str(second))
    assert first.read_bytes() == second.read_bytes() == original.read_bytes()


@pytest.mark.soak
def test_a_truncated_block_that_nobody_else_has(alpha: Machine, tmp_path: Path) -> None:
    original = tmp_path / "photo.raw"
    original.write_bytes(secrets.token_bytes(300_000))
    cid = alpha.json("blobs", "add", str(original))[0]["cid"]
    for block in (alpha.home / "blobs").rglob("*"):
        if block.is_file() and block.stat().st_size > 200_000:
            os.truncate(block, 1000)
    copy = tmp_path / "copy"
    alpha_said = alpha.command("blobs", "get", cid, "-o", str(copy), check=False)
    assert alpha_said.returncode != 0
    assert not copy.exists()
    assert alpha.json("status")["name"] == "alpha"


def test_mdns_that_is_not_allowed(made: Machine) -> None:
    made.start("discovery.mdns=false")
    lines = made.json("status")["discovery"]
    assert any("mdns" in line.lower() and "off" in line for line in lines)


@pytest.mark.parametrize(
    "name", ["\x1b]52;c;ZXZpbA==\x07x", "\x9b31m", "a\nb", "\u202egnp.exe", " ", "x" * 65]
)
def test_a_name_that_would_lie_on_a_terminal(machine: Callable[[str], Machine], name: str) -> None:
    node = machine("evil")
    for arguments in (["--name", name], ["--name", "evil", "--team", name]):
        said = refused(node, "init", "--yes", *arguments)
        assert "cannot be a name" in said
        assert said.rstrip("\n").isprintable()
    assert not node.home.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 120 MB: some 70 stay free for notes and their logs before files find no room."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=120m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("needs a file system of its own; run the tests as root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_fills_up(small_disk: Path, machine: Callable[..., Machine], init: Homes) -> None:
    node = machine("full", small_disk)
    init(node, "--team", "Falcon")
    node.start()
    node.command("send", "before the disk was full")
    filler = small_disk / "filler"
    with filler.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        except OSError:
            pass
    said = ""
    for _ in range(40):
        done = node.command("send", "x" * 10_000, check=False)
        if done.returncode:
            said = done.stderr
            break
    assert "no space left" in said or "the disk is full" in said  # who notices first
    assert "before the disk was full" in node.texts()
    filler.unlink()
    node.wait("room", lambda status: not status["storage"]["refusing"])
    node.command("send", "after there was room again")
    node.kill(signal.SIGKILL)
    node.start()
    assert {"before the disk was full", "after there was room again"} <= set(node.texts())


def test_a_file_that_cannot_be_read(alpha: Machine, tmp_path: Path) -> None:
    for path in (tmp_path / "gone", Path("/dev/null")):
        said = refused(alpha, "blobs", "add", str(path))
        assert str(path) in said


def test_a_cid_that_nobody_knows(alpha: Machine, tmp_path: Path) -> None:
    unknown = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
    for cid in (unknown, "nonsense", "\x1b[2J"):
        said = refused(alpha, "blobs", "get", cid, "-o", str(tmp_path / "x"))
        assert "\x1b" not in said
