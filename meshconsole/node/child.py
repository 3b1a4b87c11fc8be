"""The node as a background child: `python -m meshconsole.node.child ANSWER_FD`, order on stdin."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from meshconsole.core.errors import MeshconsoleError
from meshconsole.core.home import Home
from meshconsole.node.run import run_node
from meshconsole.node.spawn import ChildAnswer, ChildOrder


def main() -> int:
    answer_fd = int(sys.argv[1])
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=ChildOrder)
    home = Home(Path(order.home))

    def answer(reply: ChildAnswer) -> None:
        os.write(answer_fd, msgspec.json.encode(reply) + b"\n")
        os.close(answer_fd)

    try:
        return run_node(
            home,
            passphrase=order.passphrase,
            settings=list(order.settings),
            log_to_file=True,
            on_ready=lambda: answer(ChildAnswer(True)),
        )
    except MeshconsoleError as error:
        code = getattr(error, "exit_code", 1)
        answer(ChildAnswer(False, error.sentence, error.hint, code))
        return int(code)


if __name__ == "__main__":
    raise SystemExit(main())
