"""Plays the transcripts: what is typed, what is printed, and how it ends.

A transcript begins with "# node: none|stopped|running". Then "$ " starts a command (with "< text" for
its input), "! " a line on standard error, "exit N" a code that is not 0; all else is standard output. "HOME"
stands for the home. To write them anew after a change of wording, and then to read the difference:
MESHCONSOLE_WRITE_TRANSCRIPTS=1 make test ARGS=tests/cli
"""

from __future__ import annotations

import io
import os
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from meshconsole.cli.main import main

if TYPE_CHECKING:
    from meshconsole.core.home import Home

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
WRITE = "MESHCONSOLE_WRITE_TRANSCRIPTS"
FIXTURES = {"none": "home", "stopped": "stopped_home", "running": "node"}


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, home: Home, request: pytest.FixtureRequest) -> None:
    written = path.read_text()
    head, *rest = written.split("\n")
    assert head.startswith("# node: ")
    request.getfixturevalue(FIXTURES[head.removeprefix("# node: ")])
    played = [head]
    for line in rest:
        if line.startswith("#"):
            played.append(line)
        elif line.startswith("$ "):
            played += ["", line, *play(line.removeprefix("$ "), home)]
    text = "\n".join(played) + "\n"
    if os.environ.get(WRITE):
        path.write_text(text)
    assert text == written


def play(line: str, home: Home) -> list[str]:
    """Runs one command in this process; the lines that a transcript has for it."""
    typed, _, given = line.partition(" < ")
    words = shlex.split(typed)
    assert words[0] == "meshconsole"
    out, err = _stream(), _stream()
    held, sys.stdin = sys.stdin, _stream(given.encode())
    try:
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(words[1:])
            except SystemExit as exit_:
                code = int(exit_.code or 0)
    finally:
        sys.stdin = held
    lines = _lines(out, home) + [f"! {line}".rstrip() for line in _lines(err, home)]
    return [*lines, f"exit {code}"] if code else lines


def _stream(data: bytes = b"") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", write_through=True)


def _lines(stream: io.TextIOWrapper, home: Home) -> list[str]:
    stream.seek(0)
    folder = str(home.path)
    text = stream.read().replace(folder, "HOME").replace(str(home.path.parent), "HERE")
    return text.splitlines()
