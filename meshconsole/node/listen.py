"""Where a node listens: HOST:PORT, with [IPv6]:PORT, :PORT for everywhere, and port 0 for a free one."""

from __future__ import annotations

from meshconsole.core.errors import Fatal


def split_listen(listen: str) -> tuple[str, int]:
    """Raises Fatal for anything else."""
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    in_range = port.isascii() and port.isdecimal() and int(port) < 65536
    if not (colon and in_range) or (":" in host and not bracketed):
        raise Fatal(
            f"Cannot listen on {listen!r}.",
            hint="Write HOST:PORT, for example 192.168.1.5:7447, or :7447 for all addresses.",
            exit_code=2,
        )
    return host, int(port)
