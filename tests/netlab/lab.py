"""Hosts, routers and the processes in them.

A lab makes namespaces of its own and removes them, also those that a killed run left behind. It needs
root, /dev/net/tun, iproute2 and, for routers, nftables; `missing()` says in words what is not there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import struct
import subprocess
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.netlab.nat import Nat, rules
from tests.netlab.switch import Port, Switch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.netlab.impairment import Impairment

_TUN = Path("/dev/net/tun")
_PREFIX = "mclab"
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
_NO_WAIT_FOR_ADDRESSES = "net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0"
_numbers = count()


class LabError(Exception):
    """The machine did not do what the lab asked of it."""


def missing(*programs: str) -> str:
    """What keeps a lab from working here, in words; "" if nothing does. `programs` are wanted besides."""
    if os.geteuid() != 0:
        return "network namespaces need root (run it with sudo)"
    if not _TUN.exists():
        return f"{_TUN} does not exist (a container needs --device {_TUN})"
    for program in ("ip", *programs):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    trial = f"{_PREFIX}-{os.getpid()}-trial"
    made = subprocess.run(["ip", "netns", "add", trial], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"`ip netns add` does not work here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", trial], check=False)
    return ""


def run(command: Sequence[str], *, given: str | None = None) -> str:
    """Its standard output. Raises LabError."""
    done = subprocess.run(list(command), input=given, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Lab:
    """Use it as a context manager. `pcap` gets every frame that arrives anywhere."""

    def __init__(self, seed: int = 1, pcap: Path | None = None) -> None:
        self.addresses: dict[str, str] = {}
        """Of each host, without prefix: its first."""
        self._name = f"{_PREFIX}-{os.getpid()}-{next(_numbers)}"
        self._made: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self.switch = Switch(seed, pcap)

    def __enter__(self) -> Self:
        remove_left_over()
        self.switch.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            kill_group(process)
        self.switch.stop()
        for host in self._made:
            run(["ip", "netns", "del", self.namespace(host)])

    # What there is.

    def host(self, name: str, address: str, *, segment: str = "lan", gateway: str = "") -> str:
        """`address` is ADDRESS/PREFIX. Without a gateway everything else is looked for on the segment."""
        self._namespace(name)
        self._card(name, segment, address)
        way = ["via", gateway] if gateway else ["dev", "eth0"]
        self.ip(name, "route", "add", "default", *way)
        return name

    def hosts(self, *names: str, network: str = "10.77.0") -> None:
        """Plain hosts on one segment, from .11 on."""
        for number, name in enumerate(names, 11):
            self.host(name, f"{network}.{number}/24")

    def router(
        self, name: str, *, wan: str, lan: str, inside: str, nat: Nat = "restricted", hairpin: bool = False
    ) -> str:
        """Between segment "lan" (its outside, where `wan` is its address) and the segment `inside`."""
        self._namespace(name)
        self._card(name, "lan", wan, "wan0")
        self._card(name, inside, lan, "lan0")
        self.execute(name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.execute(name, "nft", "-f", "-", given=rules(nat, wan.partition("/")[0], lan, hairpin=hairpin))
        return name

    def namespace(self, host: str) -> str:
        return f"{self._name}-{host}"

    def port(self, host: str) -> Port:
        """The port of a host, or of "HOST.CARD" for a router's."""
        return self.switch.ports[host]

    # What befalls it.

    def impair(self, host: str, impairment: Impairment, *, up: bool = True, down: bool = True) -> None:
        """From now on, in the directions that are asked for."""
        port = self.port(host)
        if up:
            port.up.impairment = impairment
        if down:
            port.down.impairment = impairment

    def impair_all(self, impairment: Impairment) -> None:
        for name in tuple(self.switch.ports):
            self.impair(name, impairment)

    def partition(self, *groups: Iterable[str]) -> None:
        """Hosts of different groups do not hear each other."""
        for one in groups:
            for other in groups:
                for source, target in ((s, t) for s in one for t in other):
                    if one is not other:
                        self.switch.cut(source, target)

    def cut_one_way(self, source: str, target: str) -> None:
        """`target` does not hear `source` any more, which hears it as before."""
        self.switch.cut(source, target)

    def line(self, *hosts: str) -> None:
        """As radios on a ridge: each hears its neighbours only."""
        for place, one in enumerate(hosts):
            for other in hosts[place + 2 :]:
                self.partition([one], [other])

    def heal(self) -> None:
        self.switch.heal()

    def replug(self, host: str, segment: str, address: str = "", gateway: str = "") -> None:
        """Moves a host to another segment, with a new address if one is given."""
        self.switch.move(host, segment)
        if address:
            self.ip(host, "addr", "flush", "dev", "eth0", "scope", "global")
            self.ip(host, "addr", "add", address, "dev", "eth0")
            way = ["via", gateway] if gateway else ["dev", "eth0"]
            self.ip(host, "route", "replace", "default", *way)
            self.addresses[host] = address.partition("/")[0]
        self.ip(host, "neigh", "flush", "dev", "eth0")

    def firewall(self, host: str, ruleset: str) -> None:
        """Replaces the rules of a host by these, as nftables has them."""
        self.execute(host, "nft", "-f", "-", given=f"flush ruleset\n{ruleset}")

    # Processes.

    def within(self, host: str) -> list[str]:
        """What stands before a command that is to run in a host. It takes the command's place."""
        return ["ip", "netns", "exec", self.namespace(host)]

    def execute(self, host: str, *command: str, given: str | None = None) -> str:
        return run([*self.within(host), *command], given=given)

    def spawn(self, host: str, *command: str) -> subprocess.Popen[bytes]:
        """Runs until the lab ends."""
        process = subprocess.Popen(
            [*self.within(host), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def ip(self, host: str, *words: str) -> None:
        run(["ip", "-n", self.namespace(host), *words])

    def _namespace(self, host: str) -> None:
        namespace = self.namespace(host)
        run(["ip", "netns", "add", namespace])
        self._made.append(host)
        run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        # Addresses serve at once: nobody here has the same.
        self.execute(host, "sysctl", "-qw", *_NO_WAIT_FOR_ADDRESSES.split())

    def _card(self, host: str, segment: str, address: str, device: str = "eth0") -> None:
        fd = os.open(_TUN, os.O_RDWR | os.O_CLOEXEC)
        name = f"ml{os.getpid() % 100_000}x{len(self.switch.ports)}"
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TAP | _IFF_NO_PI))
        run(["ip", "link", "set", name, "netns", self.namespace(host), "name", device])
        self.ip(host, "addr", "add", address, "dev", device)
        self.ip(host, "link", "set", device, "txqueuelen", "1000", "up")
        self.addresses.setdefault(host, address.partition("/")[0])
        self.switch.add(host if device == "eth0" else f"{host}.{device}", fd, segment)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def remove_left_over() -> None:
    """Namespaces of runs that were killed, and what still runs in them."""
    for line in run(["ip", "netns", "list"]).splitlines():
        name = line.split()[0] if line.strip() else ""
        prefix, _, rest = name.partition("-")
        owner = rest.partition("-")[0]
        if prefix == _PREFIX and owner.isdigit() and not Path("/proc", owner).exists():
            with contextlib.suppress(LabError, ProcessLookupError):  # another run does the same
                for pid in run(["ip", "netns", "pids", name]).split():
                    os.kill(int(pid), signal.SIGKILL)
                run(["ip", "netns", "del", name])
