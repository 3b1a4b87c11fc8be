"""atheris on the relay's message path: python -m tests.relay.fuzz_messages [libFuzzer flags] [corpus folder].

Each input is a session's messages, one a line. `SEEDS` start it; it runs until it is stopped or
`-runs` or `-max_total_time` is over, and exits with a number other than 0 when an answer was wrong.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["meshconsole.relay", "meshconsole.core"]):
    from tests.relay.fuzzing import feed
    from tests.relay.seeds import SEEDS, WORDS


def one_input(data: bytes) -> None:
    feed(data.split(b"\n"))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds"
        seeds.mkdir()
        for number, seed in enumerate(SEEDS):
            (seeds / str(number)).write_bytes(seed)
        dictionary = Path(folder) / "dictionary"
        dictionary.write_text("".join(f'"{word}"\n' for word in WORDS))
        atheris.Setup([*sys.argv, "-max_len=4096", f"-dict={dictionary}", str(seeds)], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
