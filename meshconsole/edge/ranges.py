"""Byte ranges of HTTP: one range, as the client asks for it (RFC 9110 §14). Pure."""

from __future__ import annotations

import re
from http import HTTPStatus

from meshconsole.edge.messages import HttpError

_one = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.ASCII | re.IGNORECASE).fullmatch


def wanted_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte; None where all are to be sent. Several ranges at once are answered with all,
    as a server may (§14.2). Raises HttpError where there is no such byte."""
    parted = _one(header)
    if parted is None or not (parted[1] or parted[2]):
        return None
    if parted[1]:
        first = int(parted[1])
        last = min(int(parted[2]), size - 1) if parted[2] else size - 1
        if parted[2] and int(parted[2]) < first:
            return None  # not a range at all (§14.1.1)
    else:
        first, last = max(0, size - int(parted[2])), size - 1
        if not int(parted[2]):
            first = size
    if first > last or first >= size:
        told = (("Content-Range", f"bytes */{size}"),)
        raise HttpError(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"There are {size} bytes, and none of those.", told
        )
    return first, last
