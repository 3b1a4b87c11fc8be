"""Two whole nodes of one team."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.machine import Machine


def teamed(alpha: Machine, bravo: Machine) -> Iterator[tuple[Machine, Machine]]:
    """Made and started; bravo has joined alpha's team. Both are killed when it is closed."""
    alpha.command("init", "--yes", "--name", "alpha", "--team", "Falcon")
    bravo.command("init", "--yes", "--name", "bravo")
    try:
        alpha.start()
        bravo.start()
        bravo.command("team", "join", alpha.json("team", "invite", "--address", alpha.address)["text"])
        yield alpha, bravo
    finally:
        alpha.kill()
        bravo.kill()
