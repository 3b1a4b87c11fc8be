"""The node as a background child: `python -m meshconsole.node.child ANSWER_FD`, order on stdin."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import msgspec

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.home import Home
from meshconsole.node.collecting import collect_rarely
from meshconsole.node.spawn import ChildAnswer, ChildOrder

EXIT_BUG = 70

log = logging.getLogger(__name__)


class Answering:
    """Tells the parent once how the start went; what comes after that is for the log only."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def __call__(self, answer: ChildAnswer) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, msgspec.json.encode(answer) + b"\n")
            os.close(self._descriptor)
            self._descriptor = None


def main() -> int:
    collect_rarely()  # before anything large is loaded
    from meshconsole.node.run import run_node

    answer = Answering(int(sys.argv[1]))
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=ChildOrder)
    home = Home(Path(order.home))
    try:
        return run_node(
            home,
            passphrase=order.passphrase,
            settings=list(order.settings),
            log_to_file=True,
            on_ready=lambda: answer(ChildAnswer(True)),
        )
    except MeshconsoleError as error:
        log.error("%s", error)
        code = getattr(error, "exit_code", 1)
        answer(ChildAnswer(False, error.sentence, error.hint, code))
        return int(code)
    except Exception as error:
        log.exception("the node broke")
        sentence = f"This should not have happened ({type(error).__name__})."
        answer(ChildAnswer(False, sentence, f"The details are in {home.log}.", EXIT_BUG))
        return EXIT_BUG


if __name__ == "__main__":
    raise SystemExit(main())
