"""A module whose docstring says "Pure." keeps that promise: no loop, clock, network or database."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "meshconsole"
CALENDAR = {"gmtime", "localtime", "mktime", "strftime", "strptime", "struct_time"}
"""What of `time` reads no clock."""

IMPURE = {
    "asyncio",
    "psycopg",
    "random",
    "select",
    "selectors",
    "socket",
    "sqlcipher3",
    "sqlite3",
    "sqlite_utils",
    "ssl",
    "subprocess",
    "textual",
    "threading",
    "time",
    "websockets",
    "zeroconf",
}
PURE_PARTS = {"websockets.speedups", "websockets.utils"}
"""Plain functions on bytes inside of packages that do more."""

WHOLLY_PURE_ROOMS = ("core", "team")


def pure_modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "Pure" in _docstring(path)]


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def imports_at_run_time(source: str) -> set[str]:
    """Top-level names of all imports but those for type checkers, and of `time` for its calendar alone."""
    found: set[str] = set()

    class Imports(ast.NodeVisitor):
        def visit_If(self, node: ast.If) -> None:
            if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
                self.generic_visit(node)

        def visit_Import(self, node: ast.Import) -> None:
            found.update(alias.name.partition(".")[0] for alias in node.names)

        def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
            if node.module not in PURE_PARTS:
                found.add((node.module or "").partition(".")[0])

    tree = ast.parse(source)
    Imports().visit(tree)
    of_time = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "time"
    }
    return found - {"time"} if of_time and of_time <= CALENDAR else found


def test_the_probe_finds_imports_in_functions_but_not_for_type_checkers() -> None:
    source = "if TYPE_CHECKING:\n    import socket\ndef f():\n    from time import sleep\n"
    assert imports_at_run_time(source) == {"time"}


def test_the_probe_tells_the_calendar_from_the_clock() -> None:
    assert not imports_at_run_time("import time\ntime.strftime('%H', time.localtime(at))\n")
    assert imports_at_run_time("import time\ntime.localtime(time.time())\n") == {"time"}


@pytest.mark.parametrize("path", pure_modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_module(path: Path) -> None:
    assert not imports_at_run_time(path.read_text()) & IMPURE


@pytest.mark.parametrize("room", WHOLLY_PURE_ROOMS)
def test_every_module_of_a_pure_room_says_so(room: str) -> None:
    silent = [path.name for path in sorted((PACKAGE / room).rglob("*.py")) if "Pure" not in _docstring(path)]
    assert not silent
