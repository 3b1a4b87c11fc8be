"""A team hub over SSH: a real sshd, operators and watchers told apart by their groups."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meshconsole.control.blocking import call
from meshconsole.control.bridge import bridge
from meshconsole.control.messages import GetStatus, StatusData
from meshconsole.control.notes import SendNote
from meshconsole.core.errors import Refused
from tests.console.terminal import Terminal
from tests.e2e.hub import Hub, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.skipif(bool(missing()), reason=missing()),
]


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


def _console(hub: Hub, user: str, width: int = 100, height: int = 30) -> Terminal:
    return Terminal(
        width=width, height=height, program=hub.ssh(user, options=("-tt", "-o", "LogLevel=ERROR"))
    )


def test_two_operators_of_one_node_see_each_other_s_notes(hub: Hub) -> None:
    with _console(hub, "oskar") as one, _console(hub, "oskar") as other:
        one.until_shown("hub")
        other.until_shown("hub")
        hub_note = hub.run("oskar", "meshconsole", "send", "all-set")
        assert (hub_note.returncode, hub_note.stderr) == (0, "")
        one.until_shown("all-set")
        other.until_shown("all-set")
        one.resize(60, 20)
        one.until_shown("all-set")


def test_a_watcher_looks_and_changes_nothing(hub: Hub) -> None:
    status = hub.run("wanda", "status", "--json")
    assert json.loads(status.stdout)["team"]["name"] == "Falcon"
    refused = hub.run("wanda", "send", "hello")
    assert refused.returncode == 5
    assert "may look at this node" in refused.stderr
    with _console(hub, "wanda") as console:
        console.until_shown("read-only")


def test_a_console_on_one_s_own_machine_has_the_rights_of_the_account(hub: Hub) -> None:
    with bridge(hub.ssh("wanda", "dial-stdio")) as reached:
        found = call(reached.path, GetStatus()).or_raise().data
        assert isinstance(found, StatusData)
        assert found.status.team is not None
        assert found.status.team.name == "Falcon"
        with pytest.raises(Refused, match="may look at this node"):
            call(reached.path, SendNote("hello")).or_raise()


def test_an_operator_does_not_reach_what_is_the_node_s_own(hub: Hub) -> None:
    invited = hub.run("oskar", "team", "invite", "--json")
    assert json.loads(invited.stdout)["text"]
    for words in (("audit", "export", "/tmp/audit"), ("team", "create", "Other")):
        assert hub.run("oskar", *words).returncode == 5, words


MARK = f"/tmp/meshconsole-hub-test-{os.getpid()}"
"""What a program on the hub would make."""
STARTS = f'--through=sh\r-c\r"id>{MARK}"'


@pytest.mark.parametrize(
    "words",
    [
        ("attach", "--in-browser", STARTS),
        ("attach", "--in-browser", STARTS.replace("\r", "\f")),
        ("attach", "--in-browser", "--through", f"touch\\ {MARK}"),
        ("attach", "--in-b", f"--thr=touch\\ {MARK}"),
        ("team", "--", "members", "--home=/"),
        ("audit", "merge", "/etc/passwd"),
        ("web",),
        ("sh", "-c", "id"),
        ("status; id",),
        ("status", "$(id)", "`id`"),
        ("panic", "--yes"),
        ("stop",),
        ("status", "--home", "/"),
        ("blobs", "add", "/etc/passwd"),
    ],
    ids=lambda words: ascii(" ".join(words)).replace(MARK, "MARK"),
)
def test_there_is_no_way_to_a_shell(hub: Hub, words: tuple[str, ...]) -> None:
    done = hub.run("oskar", *words)
    assert done.returncode != 0
    assert "uid=" not in done.stdout + done.stderr
    assert "/etc/passwd" not in done.stderr
    assert not Path(MARK).exists()


def test_a_member_brings_no_variable_that_the_program_heeds(hub: Hub) -> None:
    done = hub.run("oskar", "status", "--json", options=("-o", "SetEnv=PYTHONVERBOSE=1 MESHCONSOLE_HOME=/"))
    assert (done.returncode, done.stderr) == (0, "")


def test_forwarding_is_shut(hub: Hub) -> None:
    forwarded = hub.run("oskar", options=("-W", f"127.0.0.1:{hub.port}"))
    assert forwarded.returncode != 0
    assert "administratively prohibited" in forwarded.stderr
    listening = hub.run("oskar", "status", options=("-R", "0:127.0.0.1:1", "-o", "ExitOnForwardFailure=yes"))
    assert listening.returncode != 0
    assert "remote port forwarding failed" in listening.stderr
    tunnel = hub.run("oskar", "status", options=("-w", "any", "-o", "ExitOnForwardFailure=yes"))
    assert tunnel.returncode != 0


def test_files_cross_by_none_of_ssh_s_own_ways(hub: Hub) -> None:
    """The machine's sshd has its sftp switched on, as Debian's has: the set-up of the hub stands above it."""
    subsystem = hub.run("oskar", "sftp", options=("-s",))
    assert (subsystem.returncode, subsystem.stdout) == (
        2,
        "",
    )  # sshd passes on no word of a subsystem's errors
    old_protocol = hub.run("oskar", "scp", "-t", MARK)
    assert "At this hub: attach" in old_protocol.stderr
    assert not Path(MARK).exists()


def test_a_stranger_is_no_user_of_the_hub(hub: Hub) -> None:
    """Another account of the machine has its shell, and no way to the node."""
    done = hub.run("sam", f"MESHCONSOLE_SOCKET={hub.socket} {hub.folder}/meshconsole status")
    assert done.returncode != 0
    assert "another user" in done.stderr


def test_a_dropped_line_leaves_no_process_behind(hub: Hub) -> None:
    with _console(hub, "oskar") as console:
        console.until_shown("hub")
        assert hub.consoles()
        console.process.kill()
        hub.until("the end of the consoles", lambda: not hub.consoles())
    with _console(hub, "oskar") as again:
        again.until_shown("hub")


def test_the_key_exchange_is_post_quantum(hub: Hub) -> None:
    done = hub.run("oskar", "status", options=("-v",))
    kex = [line for line in done.stderr.splitlines() if "kex: algorithm:" in line]
    assert kex
    assert "sntrup761" in kex[0] or "mlkem768" in kex[0]
