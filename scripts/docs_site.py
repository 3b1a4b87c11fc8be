"""Builds the documents as a site that opens without a network, and looks whether it does.

    make docs        build/docs/index.html

A broken link or a page that nothing leads to fails; so does whatever a page would load from elsewhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "build" / "docs"
PYTHON = ROOT / ".venv-docs" / "bin" / "python"
ABROAD = ("http:", "https:", "//")


def main() -> int:
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    # Not --quiet: warnings that are not shown are not counted either.
    command = [str(PYTHON), "-m", "mkdocs", "build", "--strict", "--clean"]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return 1
    pages = sorted(SITE.rglob("*.html"))
    foreign = [f"{page.relative_to(SITE)}: {url}" for page in pages for url in loaded(page.read_text())]
    for line in foreign:
        print(f"loaded from elsewhere: {line}", file=sys.stderr)
    if foreign or not pages:
        return 1
    print(f"{len(pages)} pages that load nothing from elsewhere: {SITE / 'index.html'}")
    return 0


def loaded(page: str) -> Iterator[str]:
    """What a browser would fetch from another place to show this page; links to click do not count."""
    reader = _Loads()
    reader.feed(page)
    return (url for url in reader.found if url.startswith(ABROAD))


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "link" and named.get("rel") != "canonical":
            self.found.append(named.get("href") or "")
        elif tag != "a":
            self.found += [named.get("src") or "", named.get("srcset") or ""]


if __name__ == "__main__":
    sys.exit(main())
