"""What opens a home and what destroys it, as an operator meets it: commands and whole processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from scripts.machine import COMMAND, Machine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.homes import Homes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RIGHT, WRONG, OTHER = "correct horse", "battery staple", "another one"


@pytest.fixture
def file_with(tmp_path: Path) -> Callable[[str], str]:
    """The name of a file whose first line is the given text."""

    def write(text: str) -> str:
        path = tmp_path / f"line-{abs(hash(text))}"
        path.write_text(text + "\n")
        return str(path)

    return write


@pytest.fixture
def shut(machine: Callable[..., Machine], init: Homes) -> Machine:
    """A home with a passphrase; its node does not run and nobody has given the passphrase."""
    node = machine("shut")
    init(node, "--team", "Falcon", passphrase=RIGHT)
    return node


class Node:
    """`meshconsole node` without a terminal, and what it logs."""

    def __init__(self, machine: Machine, *options: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "node", "--home", str(machine.home), *options],
            env=machine.environment | environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[str] = []

    def logs(self, words: str) -> None:
        """Returns when a line with `words` has come."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.seen.append(line)
            if words in line:
                return
        raise AssertionError(f"{words!r} was not logged:\n{''.join(self.seen)}")

    def end(self) -> int:
        assert self.process.stderr is not None
        if not self.process.stderr.closed:
            self.seen += self.process.stderr.readlines()
            self.process.stderr.close()
        return self.process.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    started: list[Node] = []

    def begin(machine: Machine, *options: str, **environment: str) -> Node:
        started.append(Node(machine, "--listen", "127.0.0.1:0", *options, **environment))
        return started[-1]

    yield begin
    for node in started:
        node.process.kill()
        node.process.wait()
        if node.process.stderr is not None:
            node.process.stderr.close()


def says(machine: Machine, *arguments: str, code: int = 0) -> str:
    done = machine.command(*arguments, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_node_starts_locked_and_is_opened_later(
    shut: Machine, start: Callable[..., Node], file_with: Callable[[str], str]
) -> None:
    node = start(shut)
    node.logs("locked; it opens with")
    assert "its home is locked" in says(shut, "status", code=5)
    assert "its home is locked" in says(shut, "send", "hello", code=5)
    assert "passphrase is wrong" in says(shut, "unlock", "--passphrase-file", file_with(WRONG), code=5)
    assert "locked" in says(shut, "status", code=5)
    assert "the node serves" in says(shut, "unlock", "--passphrase-file", file_with(RIGHT))
    assert "Falcon" in says(shut, "team")
    assert "open already" in says(shut, "unlock")
    says(shut, "stop")
    assert node.end() == 0


def test_a_locked_node_stops_in_good_order(shut: Machine, start: Callable[..., Node]) -> None:
    for by_command in (True, False):
        node = start(shut)
        node.logs("locked")
        if by_command:
            says(shut, "stop")
        else:
            node.process.send_signal(signal.SIGTERM)
        assert node.end() == 0
        assert not (shut.home / "control.sock").exists()


def test_who_opens_it_is_told_why_it_cannot_start(
    shut: Machine, start: Callable[..., Node], file_with: Callable[[str], str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        node = start(shut, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
        node.logs("locked")
        done = shut.command("unlock", "--passphrase-file", file_with(RIGHT), check=False)
        assert done.returncode != 0
        assert "another program uses this port" in done.stderr
        assert node.end() != 0


def test_the_duress_passphrase_destroys_and_looks_like_a_mistake(
    shut: Machine, start: Callable[..., Node], file_with: Callable[[str], str]
) -> None:
    right, duress = file_with(RIGHT), file_with("let me out")
    says(shut, "passphrase", "--duress", "--passphrase-file", right, "--new-passphrase-file", duress)
    node = start(shut)
    node.logs("locked")
    wrong = says(shut, "unlock", "--passphrase-file", file_with(WRONG), code=5)
    assert says(shut, "unlock", "--passphrase-file", duress, code=5) == wrong
    assert says(shut, "unlock", "--passphrase-file", right, code=5) == wrong
    assert "its home is locked" in says(shut, "status", code=5)


def test_the_duress_passphrase_at_a_locked_console_ends_the_node_too(
    shut: Machine, start: Callable[..., Node], file_with: Callable[[str], str]
) -> None:
    """The keys of a node that runs are in its memory."""
    from meshconsole.control.blocking import call
    from meshconsole.control.keys import Unlock

    says(
        shut,
        "passphrase",
        "--duress",
        "--passphrase-file",
        file_with(RIGHT),
        "--new-passphrase-file",
        file_with("let me out"),
    )
    node = start(shut, "--passphrase-file", file_with(RIGHT))
    node.logs("serving on")
    control = shut.home / "control.sock"
    assert call(control, Unlock(RIGHT)).accepted
    wrong = call(control, Unlock(WRONG))
    assert not wrong.accepted
    assert call(control, Unlock("let me out")) == wrong
    assert node.end() == 0
    said = says(shut, "backup", "seed", "--passphrase-file", file_with(RIGHT), code=1)
    assert "passphrase is wrong" in said


def test_the_duress_passphrase_given_to_a_command_ends_a_node_that_is_open(
    shut: Machine, start: Callable[..., Node], file_with: Callable[[str], str]
) -> None:
    """At once: its memory holds what the keystore does not any more."""
    command = ("backup", "seed")
    right, duress = file_with(RIGHT), file_with("let me out")
    says(shut, "passphrase", "--duress", "--passphrase-file", right, "--new-passphrase-file", duress)
    node = start(shut, "--passphrase-file", right)
    node.logs("serving on")
    wrong = says(shut, *command, "--passphrase-file", file_with(WRONG), code=1)
    assert node.process.poll() is None
    assert says(shut, *command, "--passphrase-file", duress, code=1) == wrong
    assert node.end() == -signal.SIGKILL
    assert says(shut, *command, "--passphrase-file", right, code=1) == wrong


@pytest.mark.parametrize("kind", ["key", "passphrase"])
def test_the_service_manager_may_hold_what_opens_it(
    kind: str,
    shut: Machine,
    start: Callable[..., Node],
    file_with: Callable[[str], str],
    tmp_path: Path,
) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    held = credentials / f"meshconsole.{kind}"
    if kind == "key":
        says(shut, "passphrase", "--passphrase-file", file_with(RIGHT), "--key-file", str(held))
    else:
        held.write_text(RIGHT)
    node = start(shut, CREDENTIALS_DIRECTORY=str(credentials))
    node.logs("serving on")


def test_a_key_file_on_a_stick(
    shut: Machine, start: Callable[..., Node], file_with: Callable[[str], str], tmp_path: Path
) -> None:
    stick = tmp_path / "stick.key"
    says(shut, "passphrase", "--passphrase-file", file_with(RIGHT), "--key-file", str(stick))
    node = start(shut, "--key-file", str(stick))
    node.logs("serving on")
    says(shut, "stop")
    assert node.end() == 0
    says(shut, "passphrase", "--passphrase-file", file_with(RIGHT), "--no-key-file")
    refused = start(shut, "--key-file", str(stick))
    assert refused.end() == 1
    assert "does not open this keystore" in "".join(refused.seen)


def test_a_new_passphrase_changes_no_key(
    shut: Machine, start: Callable[..., Node], file_with: Callable[[str], str]
) -> None:
    right, other = file_with(RIGHT), file_with(OTHER)
    before = says(shut, "backup", "seed", "--no-qr", "--passphrase-file", right)
    node = start(shut, "--passphrase-file", right)
    node.logs("serving on")
    changed = says(shut, "passphrase", "--passphrase-file", right, "--new-passphrase-file", other)
    assert "No key is" in changed
    assert "team rotate" in changed
    assert "passphrase is wrong" in says(shut, "backup", "seed", "--passphrase-file", right, code=1)
    assert says(shut, "backup", "seed", "--no-qr", "--passphrase-file", other) == before
    refused = says(
        shut, "passphrase", "--passphrase-file", right, "--new-passphrase-file", file_with("x"), code=1
    )
    assert "wrong" in refused


def test_a_home_without_a_passphrase_can_get_one(
    machine: Callable[..., Machine], start: Callable[..., Node], file_with: Callable[[str], str], init: Homes
) -> None:
    node = machine("open")
    init(node)
    right = file_with(RIGHT)
    assert "--no-key-file" in says(node, "passphrase", "--new-passphrase-file", right)
    says(node, "passphrase", "--passphrase-file", right, "--no-key-file")
    assert not (node.home / "unlock.key").exists()
    start(node).logs("locked")


@pytest.mark.parametrize("state", ["stopped", "running", "hung", "locked"])
def test_panic_leaves_nothing(
    state: str, shut: Machine, start: Callable[..., Node], file_with: Callable[[str], str]
) -> None:
    node = None
    if state == "locked":
        node = start(shut)
        node.logs("locked")
    elif state != "stopped":
        node = start(shut, "--passphrase-file", file_with(RIGHT))
        node.logs("serving on")
        says(shut, "send", "a note that must not stay")
    if node is not None and state == "hung":
        node.process.send_signal(signal.SIGSTOP)
    assert "--yes" in says(shut, "panic", code=1)
    assert (shut.home / "keystore").exists()
    assert "Destroyed" in says(shut, "panic", "--yes")
    assert list(shut.home.iterdir()) == []
    if node is not None:
        assert node.end() in (0, -signal.SIGKILL)
        assert list(shut.home.iterdir()) == []
    assert "There is no node" in says(shut, "panic", "--yes", code=1)


def test_a_wipe_that_was_cut_off_goes_on_at_every_next_start(
    shut: Machine, start: Callable[..., Node], file_with: Callable[[str], str]
) -> None:
    (shut.home / "wipe.ordered").write_bytes(b"")
    assert "DID NOT COMPLETE" in says(shut, "status", code=69)
    assert "DID NOT COMPLETE" in says(shut, "doctor", code=1)
    node = start(shut, "--passphrase-file", file_with(RIGHT))
    assert node.end() == 1
    assert "is complete now" in "".join(node.seen)
    assert list(shut.home.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root to make a file that root cannot delete")
def test_a_wipe_that_cannot_complete_is_shown_in_red(shut: Machine) -> None:
    from tests.cli.terminal import Terminal

    stubborn = shut.home / "node.db"
    if subprocess.run(["chattr", "+i", str(stubborn)], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no immutable files")
    terminal = Terminal("panic", "--yes", "--home", str(shut.home))
    try:
        terminal.expect("\x1b[1;31m")
        terminal.expect("THE WIPE DID NOT COMPLETE")
        terminal.expect("node.db")
        assert terminal.end() == 1
    finally:
        subprocess.run(["chattr", "-i", str(stubborn)], check=True)
        terminal.close()
    says(shut, "panic", "--yes")
    assert list(shut.home.iterdir()) == []


def test_what_is_done_to_a_stopped_home_is_in_its_audit_log(
    shut: Machine, start: Callable[..., Node], file_with: Callable[[str], str]
) -> None:
    right, other = file_with(RIGHT), file_with(OTHER)
    says(shut, "backup", "seed", "--passphrase-file", right)
    node = start(shut)
    node.logs("locked")
    says(shut, "backup", "shares", "--passphrase-file", right)
    says(shut, "unlock", "--passphrase-file", right)
    says(shut, "backup", "nsec", "--passphrase-file", right)
    says(shut, "passphrase", "--duress", "--passphrase-file", right, "--new-passphrase-file", other)
    acts = says(shut, "audit").splitlines()
    told = [line.split(maxsplit=3)[3] for line in acts if "what=" in line]
    assert told == [
        "identity-exported what=seed",
        "identity-exported what=shares",
        "identity-exported what=nsec",
        "keystore-changed what=passphrase",
    ]
    assert not any("duress" in line for line in acts)


BROKEN = """
import sys
from meshconsole.crypto import self_test
self_test._SEALED = "00" * 95
from meshconsole.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_node_whose_self_test_fails_does_not_start(
    machine: Callable[..., Machine], tmp_path: Path, init: Homes
) -> None:
    node = machine("broken")
    init(node, "--team", "Falcon")
    before = {path.name: path.read_bytes() for path in node.home.iterdir() if path.is_file()}
    for arguments in (["node", "--listen", "127.0.0.1:0"], ["doctor"]):
        done = subprocess.run(
            [COMMAND[0], "-c", BROKEN, *arguments, "--home", str(node.home)],
            env=node.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert "self-test fails at the sealing of data" in done.stdout + done.stderr
    after = {path.name: path.read_bytes() for path in node.home.iterdir() if path.is_file()}
    assert {name: after[name] for name in before if name != "node.lock"} == {
        name: before[name] for name in before if name != "node.lock"
    }
    made = subprocess.run(
        [COMMAND[0], "-c", BROKEN, "init", "--yes", "--home", str(tmp_path / "never")],
        env=node.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 1
    assert not (tmp_path / "never").exists()
