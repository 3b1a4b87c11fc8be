"""Where a device answers, as text: HOST:PORT, or [IPv6]:PORT. Pure."""

from __future__ import annotations

import ipaddress
import os

from meshconsole.core.errors import Unavailable
from meshconsole.core.text import safe


def split_address(address: str) -> tuple[str, int]:
    """HOST:PORT or [IPv6]:PORT. Raises Unavailable for anything else."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not (host and colon and port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise Unavailable(f"{safe(address, 80)!r} is not an address like 192.168.1.5:7447.")
    if not all(char.isascii() and (char.isalnum() or char in ".-:%_") for char in host):
        raise Unavailable(f"{safe(address, 80)!r} is not an address like 192.168.1.5:7447.")
    return host, int(port)


def join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is on this very machine."""
    try:
        host, _ = split_address(address)
        ip = ipaddress.ip_address(host)
    except (Unavailable, ValueError):
        return address.startswith("localhost:")
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return ip.ipv4_mapped.is_loopback
    return ip.is_loopback


def with_port(address: str, port: int) -> str:
    """The same host at another port. Raises Unavailable if `address` is no HOST:PORT."""
    return join_address(split_address(address)[0], port)


def os_words(error: OSError) -> str:
    """Why an address cannot be reached, in the system's words."""
    # asyncio writes "Connect call failed" over the system's words, and joins the errors of several
    # addresses of one name into one text without a number.
    if error.errno and error.errno > 0:  # those of getaddrinfo are negative
        return os.strerror(error.errno).lower()
    return safe(str(error.strerror or error), 120).lower() or type(error).__name__
