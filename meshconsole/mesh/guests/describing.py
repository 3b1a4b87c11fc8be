"""The description (SDP) that a browser on this machine sends, made fit for ours. Pure.

A browser hides its addresses behind names that only multicast DNS resolves ("<uuid>.local"). Where the page
came over loopback, they are addresses of this very machine, which needs no multicast to know them; and where
a tunnel stands between, its checks come from an address that nobody had to name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOPBACK = "127.0.0.1"
MAX_HOSTS = 4
_CANDIDATE = "a=candidate:"
_ADDRESS = 4
"""Which word of a candidate is its address (RFC 8839 section 5.1)."""


def with_own_addresses(description: str, hosts: Sequence[str]) -> str:
    """Each hidden UDP candidate becomes one for each of `hosts`, this machine's IPv4 addresses."""
    lines: list[str] = []
    for line in description.splitlines():
        words = line.split(" ")
        is_hidden = (
            line.startswith(_CANDIDATE) and len(words) > _ADDRESS and words[_ADDRESS].endswith(".local")
        )
        if not is_hidden:
            lines.append(line)
        elif words[2].lower() == "udp":
            lines += [
                " ".join([*words[:_ADDRESS], host, *words[_ADDRESS + 1 :]])
                for host in dict.fromkeys((LOOPBACK, *hosts[:MAX_HOSTS]))
            ]
    return "\r\n".join(lines) + "\r\n"
