"""Sockets that listen on every address of this machine, by IPv4 and by IPv6.

One socket for each, because what comes by IPv4 must look like IPv4 to whoever counts connections by address.
A machine without one of the two does with the other.
"""

from __future__ import annotations

import errno
import socket

EVERYWHERE = frozenset({"", "::", "*"})
"""Hosts that mean it; 0.0.0.0 is every address of IPv4 alone."""
TRIES = 8
_FAMILIES = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))
_ABSENT = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


def listeners(port: int) -> list[socket.socket]:
    """At the same port of both; port 0 takes one that is free. IPv4 is the first. Raises OSError."""
    for number in range(TRIES):
        try:
            return _listeners(port)
        except OSError as error:
            # A port that was free by IPv4 may be taken by IPv6: then another one is tried.
            if port or error.errno != errno.EADDRINUSE or number == TRIES - 1:
                raise
    raise AssertionError("the last try has raised")


def _listeners(port: int) -> list[socket.socket]:
    made: list[socket.socket] = []
    for family, host in _FAMILIES:
        try:
            made.append(socket.create_server((host, port), family=family))
        except OSError as error:
            if error.errno in _ABSENT:
                continue
            for one in made:
                one.close()
            raise
        port = made[0].getsockname()[1]
    if not made:
        raise OSError(errno.EADDRNOTAVAIL, "this machine has neither IPv4 nor IPv6")
    return made
