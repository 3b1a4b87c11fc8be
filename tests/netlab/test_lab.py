"""The lab itself: its switch, its cuts and its routers do what the faults rely on."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.netlab.impairment import Impairment
from tests.netlab.lab import Lab, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.netlab, pytest.mark.slow]

# One datagram: {listen} waits for it, {send} sends it; the listener's exit code tells.
_LISTEN = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 9000))
if sys.argv[1]:
    s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(sys.argv[1]) + bytes(4))
print("ready", flush=True)
s.settimeout(float(sys.argv[2]))
print(s.recvfrom(100)[1][0], flush=True)
"""
_SEND = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.sendto(b"x", (sys.argv[1], 9000))
"""
GROUP = "239.1.2.3"


def heard(lab: Lab, source: str, listener: str, to: str = "", *, group: str = "", wait_s: float = 5) -> str:
    """From which address a datagram arrives; "" if it does not."""
    with subprocess.Popen(
        [*lab.within(listener), sys.executable, "-c", _LISTEN, group, str(wait_s)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        lab.execute(source, sys.executable, "-c", _SEND, to or lab.addresses[listener])
        return process.stdout.readline().strip()


def test_hosts_hear_each_other_and_cuts_hold(lab: Lab) -> None:
    lab.hosts("a", "b", "c")
    assert heard(lab, "a", "b") == "10.77.0.11"
    lab.cut_one_way("a", "b")
    assert not heard(lab, "a", "b", GROUP, group=GROUP, wait_s=0.5)
    assert heard(lab, "b", "a", GROUP, group=GROUP) == "10.77.0.12"
    lab.heal()
    lab.partition(["a"], ["b", "c"])
    assert not heard(lab, "b", "a", wait_s=0.5)
    assert heard(lab, "b", "c") == "10.77.0.12"
    lab.heal()
    lab.line("a", "b", "c")
    assert not heard(lab, "a", "c", GROUP, group=GROUP, wait_s=0.5)
    assert heard(lab, "b", "c", GROUP, group=GROUP)


def test_multicast_is_filtered_while_broadcast_passes(lab: Lab) -> None:
    lab.hosts("a", "b")
    lab.impair_all(Impairment(carries_multicast=False))
    assert not heard(lab, "a", "b", GROUP, group=GROUP, wait_s=0.5)
    assert heard(lab, "a", "b", "10.77.0.255") == "10.77.0.11"
    assert lab.port("a").up.counts["multicast"]
    assert lab.port("a").sent["udp"]


def test_a_replugged_host_has_its_new_address_only(lab: Lab) -> None:
    lab.hosts("a", "b")
    lab.host("c", "10.78.0.11/24", segment="elsewhere")
    assert heard(lab, "b", "a")
    lab.replug("b", "elsewhere", "10.78.0.12/24")
    assert heard(lab, "b", "c") == "10.78.0.12"


@pytest.mark.parametrize(
    ("nat", "is_open"), [("full-cone", True), ("restricted", False), ("symmetric", False)]
)
def test_routers_hide_their_inside(lab: Lab, nat: str, is_open: bool) -> None:
    lab.hosts("outside", "other")
    lab.router("r", wan="10.77.0.31/24", lan="192.168.31.1/24", inside="home", nat=nat)  # type: ignore[arg-type]
    lab.host("inside", "192.168.31.10/24", segment="home", gateway="192.168.31.1")
    assert heard(lab, "inside", "outside") == "10.77.0.31"
    # Its port 9000 is mapped from now on, because it has sent from there.
    opened = "import socket; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 9000)); "
    lab.execute("inside", sys.executable, "-c", opened + "s.sendto(b'x', ('10.77.0.11', 9000))")
    wait_s = 5 if is_open else 0.5
    assert bool(heard(lab, "other", "inside", "10.77.0.31", wait_s=wait_s)) is is_open


def test_a_pcap_holds_what_arrived(lab_works: None, tmp_path: Path) -> None:
    with Lab(pcap=tmp_path / "x.pcap") as lab:
        lab.hosts("a", "b")
        assert heard(lab, "a", "b")
    assert (tmp_path / "x.pcap").stat().st_size > 24 + 16 + 43


def test_nothing_is_left_behind(lab_works: None) -> None:
    with Lab() as lab:
        lab.hosts("a")
        name = lab.namespace("a")
        assert name in run(["ip", "netns", "list"])
    assert name not in run(["ip", "netns", "list"])
