"""Tokens: what a program shows that may keep pins here, or reach the edge from another machine. Blocking.

Only their hashes are kept: a token is shown once, when it is made.
"""

from __future__ import annotations

import base64
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.text import safe

if TYPE_CHECKING:
    from meshconsole.edge.messages import Request
    from meshconsole.edge.tables import Tables

MAX_TOKENS = 256
USED_EVERY_S = 60.0
"""When a token was used last is noted so often."""
PROXIES_SAY = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
_TABLES = (
    "CREATE TABLE IF NOT EXISTS edge_tokens (name TEXT PRIMARY KEY, hash BLOB NOT NULL UNIQUE,"
    " made REAL NOT NULL, used REAL) WITHOUT ROWID",
)


class Token(msgspec.Struct, frozen=True):
    """`used` is None for one that never was."""

    name: str
    made: float
    used: float | None = None


class Tokens:
    """Raises Unavailable (disk full, busy), CorruptData, Fatal from every method."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        tables.make(_TABLES)

    def make(self, name: str, now: float) -> str:
        """The token. Raises Refused for a name that is taken."""
        text = "mc_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
        with self._tables.writing() as conn:
            (count,) = conn.execute("SELECT count(*) FROM edge_tokens").fetchone()
            if count >= MAX_TOKENS:
                raise Refused("invalid", f"There are {MAX_TOKENS} tokens already.")
            if conn.execute("SELECT 1 FROM edge_tokens WHERE name = ?", (name,)).fetchone() is not None:
                raise Refused(
                    "invalid",
                    f"There is a token {safe(name, 64)} already.",
                    hint=f"Choose another name, or first: meshconsole edge revoke {safe(name, 64)}",
                )
            conn.execute("INSERT INTO edge_tokens VALUES (?, ?, ?, NULL)", (name, _hash(text), now))
        return text

    def all(self) -> list[Token]:
        """The oldest first."""
        return [
            Token(*row) for row in self._tables.read("SELECT name, made, used FROM edge_tokens ORDER BY made")
        ]

    def revoke(self, name: str) -> bool:
        """Whether there was one."""
        with self._tables.writing() as conn:
            return bool(conn.execute("DELETE FROM edge_tokens WHERE name = ?", (name,)).rowcount)

    def name_of(self, text: str, now: float) -> str:
        """Whose token that is, "" for nobody's."""
        # Looked up by its hash, so that the time it takes tells nothing about the token.
        rows = self._tables.read("SELECT name, used FROM edge_tokens WHERE hash = ?", (_hash(text),))
        if not rows:
            return ""
        name, used = rows[0]
        if used is None or now - used > USED_EVERY_S:
            with self._tables.writing() as conn:
                conn.execute("UPDATE edge_tokens SET used = ? WHERE name = ?", (now, name))
        return str(name)


def bearer(header: str) -> str:
    """What an Authorization header shows, "" if it is another kind."""
    scheme, _, text = header.strip().partition(" ")
    return text.strip() if scheme.lower() == "bearer" and len(text) < 256 else ""


def came_by_proxy(request: Request) -> bool:
    """Whether a proxy says that it passed it on (RFC 7239 §4, RFC 9110 §7.6.3, and what was usual before).
    Not all of them do."""
    return any(name in request.headers for name in PROXIES_SAY)


def _hash(text: str) -> bytes:
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
