"""One promise of the system service after the other, as an administrator who follows the guide meets them."""

from __future__ import annotations

import json
import re
import shlex
import time
from typing import TYPE_CHECKING

from scripts.machine import Failure
from scripts.service import AS_NODE, CONFIG, HOME, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scripts.container import Container

CURRENT = "/opt/meshconsole/current"
PUBLISHER = f"cd {CURRENT} && .venv/bin/python -m scripts.publisher"
RELAY = "ws://127.0.0.1:7447"
ALPHA = "env MESHCONSOLE_HOME=/srv/alpha meshconsole"
INVITE = "/boot/firmware/meshconsole-invite.txt"
PROBLEM = "/boot/firmware/meshconsole-problem.txt"
SEALED = "/etc/credstore.encrypted/meshconsole.key"
STOP_S = 5.0
MOST_EXPOSED = 2.5
ENOUGH_NOTES = 200

ALPHA_UNIT = """[Unit]
After=network.target
[Service]
Environment=MESHCONSOLE_HOME=/srv/alpha
ExecStart=/usr/local/bin/meshconsole node --listen 127.0.0.1:7500
[Install]
WantedBy=multi-user.target
"""

MIGRATION = """

@migrations()
def of_a_next_release(db: Database) -> None:
    _create(db, "of_a_next_release", {"key": int}, pk="key")
"""


class NotHere(Exception):
    """What this machine does not let a container have, so that the promise could not be looked at."""


def expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise Failure(otherwise)


class Walk:
    def __init__(self, container: Container, checkout: str, wheels: str) -> None:
        self._container = container
        self._service = Service(container)
        self._checkout = checkout
        self._offline = f"PIP_NO_INDEX=1 PIP_FIND_LINKS={wheels}"
        self._run = container.run
        self._says = container.says

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "`deploy/install` installs and starts", self.install
        yield "`Type=notify`: active is who serves", self.ready
        yield "state and runtime folder, the node's own", self.folders
        yield "`systemd-analyze verify` has no complaint", self.verify
        yield "`systemd-analyze security`: exposure of 2.5 at most", self.security
        yield "limits on memory and processors", self.limits
        yield "the journal knows each line's severity", self.journal
        yield "a clean stop within 5 s, nothing acknowledged lost", self.stop
        yield "`systemctl reload` takes a changed file", self.reload
        yield "a mistake in the file: the old one stays, the mistake is told", self.mistake
        yield "the same by SIGHUP", self.mistake_by_signal
        yield "killed: started anew", self.killed
        yield "hung: the watchdog goes hungry, and it is started anew", self.hung
        yield "a wrong file at the start is not tried again and again", self.wrong_at_start
        yield "a sealed key opens the home (`LoadCredentialEncrypted`)", self.sealed
        yield "without a key: active and locked, it waits to be opened", self.locked
        yield "first boot, an invite of no use: the card says why", self.bad_invite
        yield "first boot, a good one: joined as `relay`, the file wiped", self.good_invite
        yield "an upgrade migrates the database, and keeps a copy", self.upgrade
        yield "`deploy/install --rollback`, and the copy in its place", self.roll_back
        yield "`deploy/install --uninstall` leaves the home", self.uninstall

    def machine(self) -> str:
        debian = self._says("cat /etc/debian_version")
        version = " ".join(self._says("systemctl --version").split()[:2])
        kernel = self._says("uname -r")
        return f"Last run: Debian {debian}, {version}, in a container (systemd-nspawn) on Linux {kernel}."

    def last_words(self) -> str:
        return self._says("journalctl -u meshconsole -u meshconsole-first-boot --no-pager -n 40")

    # The steps.

    def install(self) -> str:
        options = "--set limits.performance_mode=saver --set node.listen=127.0.0.1:7447"
        self._run(f"echo 'INIT_OPTIONS={options}' > /etc/default/meshconsole; mkdir -p /boot/firmware /srv")
        began = time.monotonic()
        done = self._run(f"cd {self._checkout} && {self._offline} deploy/install")
        took = time.monotonic() - began
        unsaid = [line for line in done.stdout.splitlines() if line.startswith("+ ")]
        expect(unsaid, "it did not print what it does")
        return f"{took:.0f} s from a checkout, without network; {len(unsaid)} things done, each printed"

    def ready(self) -> str:
        self._service.until_serving()
        expect(self._service.show("Type") == "notify", "the unit is not Type=notify")
        began = time.monotonic()
        self._run("systemctl restart meshconsole")  # returns when the node has said that it is ready
        cold = time.monotonic() - began
        expect(self._service.show("ActiveState") == "active", "it is not active after the restart")
        return f"`active` {cold:.1f} s after `systemctl restart`; {self._service.show('StatusText')!r}"

    def folders(self) -> str:
        modes = self._says("stat -c '%n %U %a' /var/lib/meshconsole /run/meshconsole")
        wanted = "/var/lib/meshconsole meshconsole 700\n/run/meshconsole meshconsole 755"
        expect(modes == wanted, f"they are {modes!r}")
        return modes.replace("\n", "; ")

    def verify(self) -> str:
        units = "/etc/systemd/system/meshconsole.service /etc/systemd/system/meshconsole-first-boot.service"
        done = self._run(f"systemd-analyze verify {units}", check=False)
        said = [line for line in (done.stderr + done.stdout).splitlines() if "meshconsole" in line]
        expect(not done.returncode and not said, f"it complains: {said}")
        return "silent"

    def security(self) -> str:
        found = []
        for option in ("--offline=yes /etc/systemd/system/meshconsole.service", "meshconsole.service"):
            text = self._says(f"systemd-analyze security --no-pager {option}")
            level = re.search(r"exposure level for \S+: ([\d.]+)", text)
            expect(level is not None, f"it says nothing of the level: {text[-300:]}")
            assert level is not None
            expect(float(level.group(1)) <= MOST_EXPOSED, f"exposure {level.group(1)}")
            found.append(level.group(1))
        return f"{found[0]} from the file, {found[1]} as it runs"

    def limits(self) -> str:
        high, most = self._service.show("MemoryHigh"), self._service.show("MemoryMax")
        told = self._says(f"{AS_NODE} limits --json")
        group = self._says(f"cat /proc/{self._service.show('MainPID')}/cgroup | sed -n 's/^0:://p'")
        there = self._says(f"cat /sys/fs/cgroup{group}/memory.high /sys/fs/cgroup{group}/memory.max")
        if there.split() != [high, most]:
            raise NotHere(
                f"systemd asks for MemoryHigh={high} and MemoryMax={most}, but the kernel here hands the"
                " container no memory controller (cgroups of version 2)"
            )
        ceiling = int(json.loads(told)["max_memory_bytes"])
        expect(ceiling <= int(high) * 9 // 10, f"the node allows itself {ceiling} bytes")
        return f"the kernel has memory.high {high} and memory.max {most}; the node keeps to {ceiling}"

    def journal(self) -> str:
        entries = self._service.entries()
        own = [entry for entry in entries if entry.get("_TRANSPORT") == "stdout"]
        expect(own, "the node has said nothing")
        bad = [entry["MESSAGE"] for entry in own if re.match(r"<\d>|\d{4}-", str(entry["MESSAGE"]))]
        expect(not bad, f"a prefix or a time is left: {bad[:1]}")
        priorities = {entry["PRIORITY"] for entry in own}
        expect("6" in priorities, f"the severities are {priorities}")
        return f"{len(own)} lines, no time and no prefix left in them; severities {sorted(priorities)}"

    def stop(self) -> str:
        for setting in ("privacy.share_with_team_only=false", "privacy.require_authentication=false"):
            self._run(f"{AS_NODE} config set {setting}")
        self._run(f"{AS_NODE} config set relay.rate_limits=false")
        self._run(f"({PUBLISHER} write {RELAY} > /srv/acknowledged 2> /srv/publisher) > /dev/null &")
        notes = "cat /srv/acknowledged | wc -l"
        self._container.until("notes", lambda: int(self._says(notes) or 0) >= ENOUGH_NOTES)
        began = time.monotonic()
        self._run("systemctl stop meshconsole")
        took = time.monotonic() - began
        result, code = self._service.show("Result"), self._service.show("ExecMainStatus")
        expect((result, code) == ("success", "0"), f"it ended with {result}, status {code}")
        expect(took < STOP_S, f"the stop took {took:.1f} s")
        acknowledged = int(self._says(notes))
        self._run("systemctl start meshconsole")
        kept = int(self._says(f"{PUBLISHER} read {RELAY} < /srv/acknowledged"))
        expect(kept == acknowledged, f"{kept} of {acknowledged} acknowledged notes are there")
        return f"{took:.1f} s, in the middle of {acknowledged} notes that a client sent; all {kept} are there"

    def reload(self) -> str:
        self._run(f"cp {CONFIG} /srv/config.toml")
        before, cursor = self._service.show("MainPID"), self._service.cursor()
        self._service.change("[limits]", "max_connections = 77")
        self._run("systemctl reload meshconsole")
        expect(self._service.show("MainPID") == before, "it was started anew")
        said = self._service.said_since(cursor, "ead again")
        told = json.loads(self._says(f"{AS_NODE} limits --json"))
        expect(told["max_connections"] == 77, f"the node goes by {told['max_connections']}")
        return f"{said!r}; the node goes by the new value, its process is the same"

    def mistake(self) -> str:
        self._service.change("[limits]", 'max_connections = "many"')
        cursor = self._service.cursor()
        done = self._run("systemctl reload meshconsole", check=False)
        expect(done.returncode, "a reload with a mistake in the file succeeded")
        said = self._service.said_since(cursor, "max_connections")
        expect(self._service.serves(), "the node does not serve any more")
        return f"the reload fails, the node serves on; the journal: {said!r}"

    def mistake_by_signal(self) -> str:
        cursor = self._service.cursor()
        self._run("systemctl kill --signal=SIGHUP --kill-who=main meshconsole")
        said = self._service.said_since(cursor, "was not read again")
        shown = self._service.show("StatusText")
        expect(shown in said, f"systemctl status shows {shown!r}")
        expect(self._service.serves(), "the node does not serve any more")
        self._run(f"cp /srv/config.toml {CONFIG}")
        cursor = self._service.cursor()
        self._run("systemctl kill --signal=SIGHUP --kill-who=main meshconsole")
        self._service.said_since(cursor, "was read again")
        return f"{said!r}, and so in `systemctl status`"

    def killed(self) -> str:
        return f"serves again after {self._service.back_after('KILL'):.1f} s"

    def hung(self) -> str:
        cursor = self._service.cursor()
        took = self._service.back_after("STOP")
        said = self._service.said_since(cursor, "Watchdog timeout")
        return f"`SIGSTOP`; serves again after {took:.0f} s; the journal: {said!r}"

    def wrong_at_start(self) -> str:
        self._service.change("[limits]", 'max_connections = "many"')
        self._run("systemctl restart meshconsole", check=False)
        self._container.until("its end", lambda: self._service.show("ActiveState") == "failed")
        status, restarts = self._service.show("ExecMainStatus"), self._service.show("NRestarts")
        time.sleep(5)  # twice what RestartSec is: it must not come back
        expect(self._service.show("ActiveState") == "failed", "it was started again")
        expect(status == "2", f"it ended with {status}")
        self._run(f"cp /srv/config.toml {CONFIG}")
        self._service.restart()
        return f"ends with status {status}, stays so ({restarts} restarts); mended, it serves"

    def sealed(self) -> str:
        self._run(
            "mkdir -p /etc/credstore.encrypted"
            f" && systemd-creds encrypt --name=meshconsole.key {HOME}/unlock.key {SEALED}"
            f" && shred --remove {HOME}/unlock.key"
        )
        self._service.restart()
        return "serves with the key file gone from the home"

    def locked(self) -> str:
        self._run(f"mv {SEALED} /srv/sealed.key")
        cursor = self._service.cursor()
        self._run("systemctl restart meshconsole")
        said = self._service.show("StatusText")
        expect("locked" in said, f"its status is {said!r}")
        self._service.said_since(cursor, "locked")
        refused = self._run(f"{AS_NODE} status", check=False)
        expect("locked" in refused.stderr, f"a command said {refused.stderr!r}")
        self._run(f"mv /srv/sealed.key {SEALED}")
        self._service.restart()
        return f"active, {said!r}; the credential back in its place, it serves"

    def bad_invite(self) -> str:
        self._run(f"{ALPHA} init --yes --name alpha --team Falcon")
        self._run(f"printf %s {shlex.quote(ALPHA_UNIT)} > /etc/systemd/system/alpha.service")
        self._run("systemctl daemon-reload && systemctl enable --now alpha")
        self._run(f"echo MC1-NOTANINVITE > {INVITE}")
        self._service.reboot()
        expect(self._run(f"test -e {INVITE}", check=False).returncode, "the file is still on the card")
        self._service.said_since("", "is of no use")
        self._service.reboot()
        said = self._says(f"cat {PROBLEM}")
        expect(said, "the card says nothing")
        return repr(" ".join(said.split()))

    def good_invite(self) -> str:
        self._container.until("alpha", lambda: not self._run(f"{ALPHA} status", check=False).returncode)
        self._run(f"{ALPHA} team invite --role relay --for 24h --no-qr > {INVITE}")
        self._container.off()
        booted = self._container.boot()
        role: list[str] = []

        def joined() -> bool:
            team = self._service.status().get("team")
            role[:] = [str(team["role"])] if isinstance(team, dict) else []
            return bool(role)

        waited = self._container.until("joining", joined)
        expect(role == ["relay"], f"it is {role}")
        gone = f"! test -e {INVITE} && ! test -e {PROBLEM}"
        self._container.until(
            "the wiping",
            lambda: not self._run(f"{gone} && ! test -e {HOME}/../invite", check=False).returncode,
        )
        return (
            f"booted in {booted:.0f} s, a `relay` {waited:.1f} s later; invite and earlier problem are gone"
        )

    def upgrade(self) -> str:
        """To this same release with one more migration, as a next one might have."""
        relay = "/opt/next/meshconsole/relay"
        self._run(f"rm -rf /opt/next && cp -R {self._checkout} /opt/next")
        self._run(r"sed -i 's/^version = .*/version = \"99.0\"/' /opt/next/pyproject.toml")
        self._run(f"printf %s {shlex.quote(MIGRATION)} >> {relay}/migrations.py")
        self._run(f"sed -i '/^MIGRATIONS = /s/)$/, \"of_a_next_release\")/' {relay}/schema.py")
        before = int(self._says(f"{PUBLISHER} read {RELAY} < /srv/acknowledged"))
        began = time.monotonic()
        self._run(f"cd /opt/next && {self._offline} deploy/install")
        took = time.monotonic() - began
        self._service.until_serving()
        copies = self._says(f"ls {HOME} | grep before").split()
        expect(copies == ["node.db.before-of_a_next_release"], f"the copies are {copies}")
        after = int(self._says(f"{PUBLISHER} read {RELAY} < /srv/acknowledged"))
        expect(before == after > 0, f"{before} notes before, {after} after")
        return f"{took:.0f} s with its set-up; {copies[0]}, and all {after} notes"

    def roll_back(self) -> str:
        cursor = self._service.cursor()
        rolled = self._run("/opt/next/deploy/install --rollback", check=False)
        said = self._service.said_since(cursor, "newer")
        self._run(
            f"systemctl stop meshconsole; cd {HOME} && rm -f node.db-wal node.db-shm"
            " && mv node.db.before-of_a_next_release node.db && systemctl reset-failed meshconsole"
        )
        self._service.restart()
        kept = int(self._says(f"{PUBLISHER} read {RELAY} < /srv/acknowledged"))
        expect(kept, "the notes are gone")
        return (
            f"the older release refuses the newer database ({said!r}, exit code {rolled.returncode});"
            f" with the copy in its place all {kept} notes are there"
        )

    def uninstall(self) -> str:
        self._run(f"{self._checkout}/deploy/install --uninstall")
        left = self._says(
            "systemctl list-unit-files 'meshconsole*' --no-legend; ls -d /opt/meshconsole; ls /usr/local/bin"
        )
        expect(not left, f"there is still {left!r}")
        expect(self._says(f"ls {HOME}"), "the home is gone")
        return "units, program and command are gone; the home is there"
