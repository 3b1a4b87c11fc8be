"""A team hub as it is set up for real: a node, sshd and three users, in a mount namespace of their own.

The users exist only there: files of the test stand in the place of /etc/passwd and its like, so that the
machine itself is not touched. Needs root, unshare, and OpenSSH's server.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.machine import Failure

ROOT = Path(__file__).resolve().parents[2]
NODE, OPERATOR, WATCHER, STRANGER = 64101, 64102, 64103, 64104
OPERATORS, WATCHERS = 64110, 64111
PATIENCE_S = 30.0

STAGE = """\
set -eu
mount --make-rprivate /
for name in passwd group shadow; do mount --bind {folder}/etc/$name /etc/$name; done
# What the users run may lie where they cannot go: then only that is shown there.
mkdir {folder}/keep
for place in {places}; do
    mkdir {folder}/keep/$(echo "$place" | tr / _)
    mount --rbind "$place" {folder}/keep/$(echo "$place" | tr / _)
done
for shut in {shut}; do mount -t tmpfs -o mode=755 none "$shut"; done
for place in {places}; do
    mkdir -p "$place"
    mount --rbind {folder}/keep/$(echo "$place" | tr / _) "$place"
done
mkdir -p /run/sshd
setpriv --reuid {node} --regid {node} --clear-groups {python} -m meshconsole node \
    --home {folder}/node --listen 127.0.0.1:0 --ready-fd 3 3>{folder}/ready >{folder}/node.log 2>&1 &
exec {sshd} -D -e -f {folder}/sshd_config >{folder}/sshd.log 2>&1
"""


def missing() -> str:
    """Why no hub can be set up here, "" if it can."""
    if os.geteuid() != 0:
        return "root is needed: users are made in a mount namespace"
    for program in ("unshare", "setpriv", "ssh", "ssh-keygen"):
        if shutil.which(program) is None:
            return f"{program} is missing: apt install util-linux openssh-client"
    if not _sshd():
        return "sshd is missing: apt install openssh-server"
    return ""


def _sshd() -> str | None:
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Hub:
    """`with Hub() as hub`: the node serves and sshd listens."""

    def __init__(self) -> None:
        # Not below pytest's own folder: other users cannot go there.
        self.folder = Path(tempfile.mkdtemp(prefix="meshconsole-hub-"))
        self.folder.chmod(0o755)
        self.port = _free_port()
        self.socket = self.folder / "control.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Hub:
        try:
            self._prepare()
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ssh(self, user: str, *words: str, options: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The command line of a client that is let in by its key alone."""
        settings = {
            "UserKnownHostsFile": self.folder / "known_hosts",
            "StrictHostKeyChecking": "yes",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
        }
        given = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        key = str(self.folder / "id")
        place = f"{user}@127.0.0.1"
        return ("ssh", "-F", "none", "-i", key, "-p", str(self.port), *given, *options, place, *words)

    def run(self, user: str, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.ssh(user, *words, options=options),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def consoles(self) -> int:
        """Processes of the users who came over SSH that still run."""
        count = 0
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                owner, command = entry.stat().st_uid, (entry / "cmdline").read_bytes()
            except OSError:  # it ended meanwhile
                continue
            count += owner in (OPERATOR, WATCHER) and b"meshconsole" in command
        return count

    def until(self, what: str, happened: object) -> None:
        assert callable(happened)
        deadline = time.monotonic() + PATIENCE_S
        while not happened():
            if time.monotonic() > deadline:
                raise Failure(f"{what} did not happen\n{self._logs()}")
            time.sleep(0.05)

    def _prepare(self) -> None:
        etc = self.folder / "etc"
        etc.mkdir()
        own = {"root": "root:x:0:0::/:/bin/sh", "sshd": "sshd:x:64100:65534::/run/sshd:/usr/sbin/nologin"}
        users = {"mesh": NODE, "oskar": OPERATOR, "wanda": WATCHER, "sam": STRANGER}
        lines = [f"{name}:x:{number}:{number}::/:/bin/sh" for name, number in users.items()]
        # sshd wants a user of its own; an account with "*" may log in by key (a locked one with "!" may not).
        (etc / "passwd").write_text("\n".join([*own.values(), *lines, ""]))
        (etc / "shadow").write_text("".join(f"{name}:*:19000::::::\n" for name in (*own, *users)))
        (etc / "group").write_text(
            "root:x:0:\nnogroup:x:65534:\n"
            + "".join(f"{name}:x:{number}:\n" for name, number in users.items())
            + f"meshconsole-operators:x:{OPERATORS}:oskar\nmeshconsole-watchers:x:{WATCHERS}:wanda\n"
        )
        for name in ("host", "id"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
            subprocess.run(command, check=True)
        keys = self.folder / "authorized_keys"
        keys.write_text((self.folder / "id.pub").read_text())
        keys.chmod(0o644)
        host = " ".join((self.folder / "host.pub").read_text().split()[:2])
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host}\n")
        ours = (ROOT / "deploy" / "ssh" / "meshconsole.conf").read_text()
        hub = self.folder / "hub"
        hub.write_text(
            f"#!/bin/sh\nexport MESHCONSOLE={self.folder}/meshconsole MESHCONSOLE_SOCKET={self.socket}\n"
            f"exec {ROOT}/deploy/ssh/hub\n"
        )
        hub.chmod(0o755)
        program = self.folder / "meshconsole"
        program.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={ROOT} PYTHONDONTWRITEBYTECODE=1\n"
            f'exec {sys.executable} -m meshconsole "$@"\n'
        )
        program.chmod(0o755)
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\nUsePAM no\n"
            f"PidFile none\nAuthorizedKeysFile {keys}\nStrictModes no\nPasswordAuthentication no\n"
            "Subsystem sftp internal-sftp\n"
            + ours.replace("/opt/meshconsole/current/deploy/ssh/hub", str(hub))
        )
        home = self.folder / "node"
        settings = {
            "socket": self.socket,
            "operators": "meshconsole-operators",
            "watchers": "meshconsole-watchers",
        }
        given = [word for key, value in settings.items() for word in ("--set", f"control.{key}={value}")]
        self._command("init", "--yes", "--name", "hub", "--team", "Falcon", "--home", str(home), *given)
        for path in (home, *home.rglob("*")):
            os.chown(path, NODE, NODE)
        # The node's own folder for its socket: others may reach it, not write in it.
        os.chown(self.folder, NODE, NODE)

    def _command(self, *words: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "MESHCONSOLE_PASSPHRASE"}
        subprocess.run(
            [sys.executable, "-m", "meshconsole", *words], check=True, env=environment, capture_output=True
        )

    def _start(self) -> None:
        os.mkfifo(self.folder / "ready")
        places = {str(ROOT), sys.base_prefix, sys.prefix, str(Path(sys.prefix).resolve())}
        shut = {top for place in places if (top := _shut_ancestor(Path(place)))}
        stage = STAGE.format(
            folder=self.folder,
            places=" ".join(shlex.quote(place) for place in sorted(places) if shut),
            shut=" ".join(shlex.quote(str(place)) for place in sorted(shut)),
            node=NODE,
            python=shlex.quote(sys.executable),
            sshd=_sshd(),
        )
        with (self.folder / "stage.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", stage],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        reading = os.open(self.folder / "ready", os.O_RDONLY | os.O_NONBLOCK)
        try:
            self.until("the node's start", lambda: self._read(reading).startswith(b"ready"))
        finally:
            os.close(reading)
        self.until("sshd's start", lambda: _answers(self.port))

    @staticmethod
    def _read(descriptor: int) -> bytes:
        try:
            return os.read(descriptor, 4096)
        except BlockingIOError:
            return b""

    def _logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted(self.folder.glob("*.log"))
        )


def _shut_ancestor(place: Path) -> Path | None:
    """The topmost folder on the way that others may not pass."""
    for folder in reversed(place.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False
