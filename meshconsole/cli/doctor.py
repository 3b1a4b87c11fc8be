"""`meshconsole doctor`: what works on this machine, what does not, and what to do. Changes nothing."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from meshconsole.cli.ask import runs
from meshconsole.cli.home import command_line, home_of
from meshconsole.cli.output import print_json, print_table, say
from meshconsole.cli.reading import node_status
from meshconsole.console.words import size_in_words
from meshconsole.core.config import Config, ConfigError
from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.health import as_finding
from meshconsole.core.reachability import OLDEST_CREDIBLE_TIME, Finding
from meshconsole.relay.listening import EVERYWHERE, listeners

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from meshconsole.core.home import Home
    from meshconsole.core.reachability import Outcome

LITTLE_SPACE_BYTES = 200_000_000


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=doctor)


def doctor(parsed: argparse.Namespace) -> int:
    """1 if anything is bad."""
    findings = list(examine(home_of(parsed.home)))
    if parsed.json:
        print_json(findings)
    else:
        rows = [(found.outcome, found.check, found.text) for found in findings]
        print_table(("", "check", "finding"), rows)
        for found in findings:
            if found.remedy and found.outcome != "good":
                say(f"{found.check}: {found.remedy}")
    return 1 if any(found.outcome == "bad" for found in findings) else 0


def examine(home: Home) -> Iterator[Finding]:
    checks: tuple[Callable[[Home], Iterator[Finding]], ...] = (
        _python,
        _post_quantum,
        _self_test,
        _database,
        _event_store,
        _home,
        _configuration,
        _port,
        _space,
        _clock,
        _multicast,
        _webrtc,
        _terminal,
    )
    for check in checks:
        name = check.__name__.removeprefix("_").replace("_", " ")
        try:
            yield from check(home)
        except MeshconsoleError as error:
            yield Finding(name, "bad", error.sentence, error.hint)
        except OSError as error:
            yield Finding(name, "bad", f"{error.strerror or error}")


def _python(_: Home) -> Iterator[Finding]:
    yield Finding("python", "good", f"{sys.version.split()[0]} on {os.uname().machine}")


def _post_quantum(home: Home) -> Iterator[Finding]:
    """Which library computes ML-KEM and ML-DSA, which version, and why the other one does not."""
    from meshconsole.crypto.providers import chosen_report, provider_reports

    setting = _config(home).crypto.provider
    reports = provider_reports()
    chosen = chosen_report(setting, reports)
    for report in reports:
        if not report.usable:
            needed = report.broken or report.name == setting
            text = f"{report.name} is not used: {report.reason}"
            yield Finding("post-quantum", "bad" if needed else "note", text, report.remedy)
        elif report is chosen:
            text = f"{report.name} is in use: {report.version}; it passes its known-answer test"
            yield Finding("post-quantum", "good", text)
        else:
            why = f'crypto.provider is "{setting}"' if setting != "auto" else "auto prefers liboqs"
            text = f"{report.name} is sound but not in use for team keys, because {why}: {report.version}"
            yield Finding("post-quantum", "good", text)


def _self_test(_: Home) -> Iterator[Finding]:
    from meshconsole.crypto.self_test import self_test
    from meshconsole.crypto.suites import SUITES

    for suite in SUITES:
        self_test(suite)
    yield Finding("self test", "good", "Argon2id, sealing, signatures and TLS links compute rightly")


def _database(_: Home) -> Iterator[Finding]:
    from meshconsole.crypto.database import open_database

    with tempfile.TemporaryDirectory(prefix="meshconsole-doctor-") as folder:
        open_database(Path(folder) / "trial.db", bytes(32)).close()
    yield Finding("database", "good", "SQLCipher encrypts")


def _event_store(home: Home) -> Iterator[Finding]:
    from meshconsole.core.store_url import is_postgres
    from meshconsole.node.config_file import load_config

    try:
        store = load_config(home).relay.store
    except ConfigError:
        return  # _configuration tells
    if is_postgres(store):
        from meshconsole.relay.postgres.probing import probe

        probed = probe(store)
        yield Finding("event store", "good", probed.server)
        for warning in probed.warnings:
            yield Finding("event store", "note", warning.sentence, warning.hint)


def _home(home: Home) -> Iterator[Finding]:
    if home.wipe_order.exists():
        remedy = f"Go on with it: {command_line('meshconsole panic', home)}"
        yield Finding("home", "bad", f"THE WIPE OF {home.path} DID NOT COMPLETE", remedy)
        return
    if not home.path.exists():
        yield Finding("home", "note", f"{home.path} does not exist yet", "Make it: meshconsole init")
        return
    if not home.keystore.exists():
        yield Finding("home", "note", f"{home.path} holds no node", "Make one: meshconsole init")
        return
    others = stat.S_IMODE(home.keystore.stat().st_mode) & 0o077
    if others:
        remedy = f"chmod 600 {home.keystore}"
        yield Finding("home", "bad", "the keystore can be read by other users", remedy)
    opens = "with a key file, without a passphrase" if home.unlock_key.exists() else "with its passphrase"
    yield Finding("home", "good", f"{home.path}, which opens {opens}")


def _configuration(home: Home) -> Iterator[Finding]:
    from meshconsole.node.config_file import check_config

    problems = check_config(home)
    for problem in problems:
        yield Finding("configuration", "bad", str(problem), "See: meshconsole config check")
    if not problems:
        yield Finding("configuration", "good", "no problems")


def _port(home: Home) -> Iterator[Finding]:
    if runs(home):
        yield Finding("node", "good", "it is running")
        for item in node_status(home).health:
            yield as_finding(item)
        return
    host, port = _listen(home)
    try:
        for listener in _listeners(host, port):
            listener.close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = "Stop the other program, or: meshconsole config set node.listen=:PORT"
            yield Finding("port", "bad", f"{host}:{port} is taken by another program", remedy)
            return
        yield Finding("port", "bad", f"{host}:{port}: {error.strerror}", "Choose another: node.listen")
        return
    yield Finding("port", "good", f"{host}:{port} is free")


def _config(home: Home) -> Config:
    """The defaults where the file has problems, which another check tells."""
    from meshconsole.node.config_file import load_config

    try:
        return load_config(home)
    except ConfigError:
        return Config()


def _listen(home: Home) -> tuple[str, int]:
    listen = _config(home).node.listen
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else 0


def _listeners(host: str, port: int) -> list[socket.socket]:
    if host in EVERYWHERE:
        return listeners(port)
    return [socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)]


def _space(home: Home) -> Iterator[Finding]:
    place = next(folder for folder in (home.path, *home.path.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    outcome: Outcome = "note" if free < LITTLE_SPACE_BYTES else "good"
    yield Finding(
        "space", outcome, f"{size_in_words(free)} free in {place}", "Make room, or lower the limit."
    )


def _clock(_: Home) -> Iterator[Finding]:
    if time.time() < OLDEST_CREDIBLE_TIME:
        remedy = "Set the clock. Notes are accepted all the same, but their times mislead."
        yield Finding("clock", "note", f"it shows {time.strftime('%Y-%m-%d')}, which is past", remedy)
    else:
        yield Finding("clock", "good", time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def _multicast(_: Home) -> Iterator[Finding]:
    """mDNS finds peers on the same network; without multicast they need an invite's address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            group = socket.inet_aton("224.0.0.251") + socket.inet_aton("0.0.0.0")
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        except OSError as error:
            remedy = "Peers are still reached by an invite's address and by what was seen before."
            yield Finding("multicast", "note", f"no mDNS: {error.strerror}", remedy)
            return
    yield Finding("multicast", "good", "mDNS can be used")


def _webrtc(_: Home) -> Iterator[Finding]:
    """Found, not loaded: loading costs memory and a second on a small machine."""
    from importlib.util import find_spec

    missing = [name for name in ("aiortc", "aioice", "pylibsrtp") if find_spec(name) is None]
    if missing:
        yield Finding("webrtc", "note", f"not installed: {', '.join(missing)}", "Links use WebSockets only.")
    else:
        yield Finding("webrtc", "good", "installed")


def _terminal(_: Home) -> Iterator[Finding]:
    term = os.environ.get("TERM", "")
    if not sys.stdout.isatty():
        yield Finding("terminal", "note", "none here; the console needs one")
    elif term in ("", "dumb"):
        yield Finding("terminal", "note", f"TERM is {term or 'not set'}", "Use a terminal that can draw.")
    else:
        columns, lines = shutil.get_terminal_size()
        yield Finding("terminal", "good", f"{term}, {columns}x{lines}, {sys.stdout.encoding}")
