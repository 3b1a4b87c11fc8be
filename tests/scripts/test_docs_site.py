"""The documents as a site: what a page may load, and that each example in them is played by a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.cli_tree import leaves
from scripts.docs_site import loaded
from scripts.examples import TRANSCRIPTS, example_of

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITHOUT = {
    *("run", "attach", "web", "dial-stdio"),  # the console itself: tests/console, tests/interop
    *(
        "node",
        "unlock",
        "passphrase",
        "panic",
        "backup",
        "doctor",
    ),  # they ask or differ: tests/e2e
    *("bundle", "netcheck"),
}
"""Commands of which no transcript can stand in the reference, and where they are tried instead."""


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ('<script src="https://a.example/x.js"></script>', ["https://a.example/x.js"]),
        ('<link rel="stylesheet" href="//a.example/x.css">', ["//a.example/x.css"]),
        ('<img srcset="http://a.example/x.png 2x">', ["http://a.example/x.png 2x"]),
        ('<a href="https://a.example/">there</a> <img src="x.png"> <script>1</script>', []),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(page: str, found: list[str]) -> None:
    assert list(loaded(page)) == found


def test_each_example_in_the_documents_is_in_a_transcript() -> None:
    played = "\n".join(path.read_text() for path in TRANSCRIPTS.glob("*.txt"))
    fenced = re.compile(r"^```console\n(.*?)\n```$", re.M | re.S)
    shown = [block for path in DOCUMENTS for block in fenced.findall(path.read_text())]
    assert len(shown) > 50
    assert not [block for block in shown if f"\n{block}\n" not in played]


def test_each_command_has_an_example() -> None:
    names = {leaf.words[0] for leaf in leaves()}
    without = {name for name in names if not example_of(name)}
    assert without <= WITHOUT
    assert names >= WITHOUT
