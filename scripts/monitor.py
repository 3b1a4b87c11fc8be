"""docs/metrics.md: the figures that a node tells a monitor, from the code that tells them."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from meshconsole.core.status import Libp2pStatus
from meshconsole.node.metrics import render
from tests.cli.falcon import STATUS

HEAD = """\
# Figures for a monitor

Written from the code by `make reference`; edit the code, not this file.

Off unless asked for, and on loopback only, since nobody is asked who he is: no key, name or address is told.

    meshconsole config set metrics.listen=127.0.0.1:9107

and the next start of the node. Prometheus reads `http://127.0.0.1:9107/metrics`, from another machine through
a tunnel: `ssh -L 9107:127.0.0.1:9107 pi`. A dashboard for Grafana is in `deploy/grafana`. A `counter` begins
at 0 with the node.

| name | type | label | meaning |
|---|---|---|---|"""


def figures() -> str:
    """Each name with its type, its label and its meaning, also of those that not every node tells."""
    storage = msgspec.structs.replace(STATUS.storage, disk_free_files=1)
    libp2p = Libp2pStatus(peer="", refused={"full": 1})
    lines = render(msgspec.structs.replace(STATUS, storage=storage, libp2p=libp2p)).splitlines()
    labelled = (line.partition("=")[0] for line in lines if "{" in line and not line.startswith("#"))
    labels = dict(name.split("{") for name in labelled)
    rows = []
    for told, typed in pairwise(lines):
        if told.startswith("# HELP "):
            name, meaning = told.removeprefix("# HELP ").split(" ", 1)
            label = f"`{labels[name]}`" if name in labels else ""
            rows.append(f"| `{name}` | {typed.rpartition(' ')[2]} | {label} | {meaning} |")
    return "\n".join([HEAD, *rows]) + "\n"
