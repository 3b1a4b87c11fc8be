"""What the store uses of a database connection, as types: sqlcipher3 brings none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

Row: TypeAlias = Any
"""A tuple whose types only the statement knows."""


class Cursor(Protocol):
    lastrowid: int

    def fetchone(self) -> Row: ...
    def fetchall(self) -> list[Row]: ...
    def close(self) -> None: ...
    def __iter__(self) -> Iterator[Row]: ...


class Connection(Protocol):
    def execute(self, sql: str, parameters: Sequence[object] = ..., /) -> Cursor: ...
    def executemany(self, sql: str, rows: Iterable[Sequence[object]], /) -> Cursor: ...
    def set_progress_handler(self, handler: Callable[[], bool] | None, instructions: int, /) -> None: ...
    def close(self) -> None: ...
