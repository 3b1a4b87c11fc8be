"""atheris on what a libp2p peer may say: make fuzz FUZZ=tests.content.libp2p.fuzz_peers

It runs until it is stopped or `-runs` or `-max_total_time` (in ARGS) is over, and exits with a number other
than 0 when a decoder broke its promise.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["meshconsole.content", "meshconsole.core"]):
    from tests.content.libp2p.fuzzing import feed
    from tests.content.libp2p.fuzzing_seeds import SEEDS


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(SEEDS):
            Path(folder, str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, "-max_len=2048", folder], feed)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
