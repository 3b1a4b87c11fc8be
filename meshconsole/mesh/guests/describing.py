"""The description (SDP) that a browser on this machine sends, made fit for ours. Pure.

A browser hides its addresses behind names that only multicast DNS resolves ("<uuid>.local"). Where the page
came over loopback, they are addresses of this very machine, which needs no multicast to know them; and where
a tunnel stands between, its checks come from an address that nobody had to name. Addresses of other machines
are left out: what a guest writes must not make this node send anything to them before they have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOPBACK = "127.0.0.1"
MAX_HOSTS = 4
_CANDIDATE = "a=candidate:"
_PROTOCOL, _ADDRESS = 2, 4
"""Words of a candidate (RFC 8839 section 5.1)."""


def with_own_addresses(description: str, hosts: Sequence[str]) -> str:
    """Each hidden UDP candidate becomes one for each of `hosts`, this machine's IPv4 addresses.

    Candidates are written anew from their words, told apart by any white space, as whoever reads them next
    does: what was looked at is what is used.
    """
    own = tuple(dict.fromkeys((LOOPBACK, *hosts[:MAX_HOSTS])))
    lines: list[str] = []
    for line in description.splitlines():
        words = line.split()
        if not line.startswith(_CANDIDATE):
            lines.append(line)
        elif len(words) <= _ADDRESS or words[_PROTOCOL].lower() != "udp":
            continue
        elif words[_ADDRESS] in own:
            lines.append(" ".join(words))
        elif words[_ADDRESS].endswith(".local"):
            lines += [" ".join([*words[:_ADDRESS], host, *words[_ADDRESS + 1 :]]) for host in own]
    return "\r\n".join(lines) + "\r\n"
