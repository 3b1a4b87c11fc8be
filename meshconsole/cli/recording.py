"""Acts on a home that need no node, written to its audit log all the same: before they are done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask, runs
from meshconsole.control.audit import RecordAct
from meshconsole.core.errors import Refused

if TYPE_CHECKING:
    from meshconsole.control.audit import OfflineAct
    from meshconsole.core.home import Home
    from meshconsole.crypto.keystore import Secrets


def record(home: Home, secrets: Secrets, act: OfflineAct, what: str) -> None:
    """By the node that holds the log, else here. Raises Fatal when the log cannot be written."""
    if runs(home):
        try:
            ask(home, RecordAct(act, what))
            return
        except Refused as error:
            if error.code != "auth-required":
                raise
    from meshconsole.node.audit.log import AuditLog

    log = AuditLog(home.audit_log, secrets.derive("audit"))
    log.open()
    try:
        log.append(act, time.time(), what=what)
    finally:
        log.close()
