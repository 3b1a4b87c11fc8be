"""The performance mode that holds now: the owner's, or with "auto" the one that suits power and heat."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from meshconsole.node.limits.power import AutoMode, Power, read_power

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshconsole.core.sections import PerformanceChoice, PerformanceMode

log = logging.getLogger(__name__)

NICE = 10
"""Of `saver`: whatever else the machine does goes first."""

LEAST = 19
"""There is no lower priority (sched(7))."""

TASKS = "/proc/self/task"


class Performance:
    """`changed` is told each other mode."""

    def __init__(
        self,
        choice: PerformanceChoice,
        changed: Callable[[PerformanceMode], None],
        power: Callable[[], Power] = read_power,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._choice = choice
        self._changed = changed
        self._power = power
        self._clock = clock
        self._auto = AutoMode()
        self._is_squeezed = False
        self._mode = self._suiting()
        self._niceness = os.getpriority(os.PRIO_PROCESS, 0)
        self._spared = min(LEAST, self._niceness + NICE)
        if choice == "saver":
            prioritise(self._spared)

    @property
    def mode(self) -> PerformanceMode:
        return self._mode

    @property
    def words(self) -> str:
        if self._is_squeezed:
            return "saver (memory is short)"
        return f"{self._mode} (auto: {self._auto.why})" if self._choice == "auto" else self._mode

    def choose(self, choice: PerformanceChoice) -> None:
        """The owner's choice, from now on."""
        if choice == self._choice:
            return
        self._choice = choice
        self._auto = AutoMode()
        self._become(self._suiting())
        # By the owner's choice alone, not by what "auto" finds: few users may take a low priority back.
        prioritise(self._spared if choice == "saver" else self._niceness)

    def squeeze(self, *, on: bool) -> None:
        """While memory is short: `saver`, whatever was chosen."""
        self._is_squeezed = on
        self._become(self._suiting())

    def look(self) -> None:
        """Now and then."""
        if self._choice == "auto":
            self._become(self._suiting())

    def _suiting(self) -> PerformanceMode:
        if self._is_squeezed:
            return "saver"
        if self._choice != "auto":
            return self._choice
        self._auto.look(self._power(), self._clock())
        return self._auto.mode

    def _become(self, mode: PerformanceMode) -> None:
        if mode != self._mode:
            self._mode = mode
            log.info("performance: %s", self.words)
            self._changed(mode)


def prioritise(niceness: int) -> None:
    """Of this process against others, for each of its threads (setpriority(2)). Who may not raise it keeps
    what it has until the next start."""
    for thread in map(int, os.listdir(TASKS) if os.path.isdir(TASKS) else ["0"]):
        try:
            if os.getpriority(os.PRIO_PROCESS, thread) != niceness:
                os.setpriority(os.PRIO_PROCESS, thread, niceness)
        except ProcessLookupError:
            continue  # it has ended
        except PermissionError:
            log.warning("this user may not raise the node's priority again; its next start does")
            return
