"""Which event store a configuration names, and how to show it without its password. Pure."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(://[^:@/?#]*):.*@", re.DOTALL)
"""Up to the last @: a password that was not percent-encoded may hold any sign."""

_NO_PORT = re.compile(r"(://[^@/?#]*):(?!\d+(?:[,/?#]|$))[^@/?#]*$")
_PARAMETERS = re.compile(r"([?&](?:ssl)?password=)[^&#]*")


STARS = "***"


def problem_with(store: str) -> str:
    """Why this cannot be `relay.store`, "" if it can. Never quotes it: it may hold a password."""
    if store not in ("", "sqlite") and not is_postgres(store):
        return "must be empty, sqlite, or postgresql://USER@HOST/DATABASE"
    if f":{STARS}" in store or f"password={STARS}" in store:
        return "holds stars where its password was; write the password anew"
    return ""


def is_postgres(store: str) -> bool:
    return store.startswith(("postgresql://", "postgres://"))


def without_password(url: str) -> str:
    """For people and logs. Whatever stands where a password may stand becomes stars."""
    masked = _USER_INFO.sub(rf"\1:{STARS}@", url)
    return _PARAMETERS.sub(rf"\1{STARS}", _NO_PORT.sub(rf"\1:{STARS}", masked))


def holds_password(url: str) -> bool:
    return without_password(url) != url
