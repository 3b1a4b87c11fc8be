"""What the operating system may do with this process's memory, and how much of the system it may use:
write no core file, let nobody read it, open many files, hold no more memory than a node at work needs.

Python cannot wipe what it no longer needs, so what keeps secrets off the disk is that memory is not
written there. The kernel's superuser reads memory all the same, and swap is the owner's to encrypt.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PR_SET_DUMPABLE = 4
"""The option's number in linux/prctl.h."""
M_ARENA_MAX = -8
"""The parameter's number in glibc's malloc.h."""
MADV_DONTNEED = 4
"""The advice's number in the kernel's mman-common.h."""

MANY_FILES = 65_536
"""Each connection is one."""

_MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \S+ +(/.*)$", re.MULTILINE)
"""In proc_pid_maps(5): begin, end and file of a private mapping that is only read."""
_UNWRITTEN = re.compile(
    _MAPPING.pattern.removesuffix("$") + r"\n(?:[A-Z]\w+: .*\n)*?Anonymous: +0 kB$", re.MULTILINE
)
"""In proc_pid_smaps(5): one of which no page was changed."""

SURPLUS_BYTES = 2 << 20
"""What is not worth letting go of."""
LOOK_S = 1.0
BUSY_LOOK_S = 4.0
"""At most between two looks while what was let go of comes back each time: a node at work needs it, and each
time it takes the loop's time to fetch it again. When the work has ended, it needs it no more."""
LEAST_S, STEP_S = 0.5, 0.1
"""Before that is looked at, and how often then."""
WORK, QUIET = 0.3, 0.1
"""Shares of a processor: from so much on it works, and with less it has ended."""


def allow_many_files() -> None:
    """As many open files as the system lets this user have: the usual 1,024 are a thousand clients less
    than a relay has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(MANY_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_memory_private() -> None:
    """No core file, whatever the system's core pattern, and no reading by other processes of this user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def use_few_arenas() -> None:
    """glibc keeps a pool of memory for each thread; the node's few threads can share."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 2)


def allowed_bytes(root: Path = Path("/")) -> int:
    """What the system lets this process's group use before it is slowed down or ended: `memory.high` and
    `memory.max` of its cgroup and those above (cgroups(7), version 2), as a service manager or a container
    sets them. 0 where nothing limits it."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return 0
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    top = root / "sys/fs/cgroup"
    place = top / own.strip("/")
    found = []
    for group in (place, *place.parents):
        if not group.is_relative_to(top):
            break
        for name in ("memory.high", "memory.max"):
            try:
                found.append(int((group / name).read_text()))
            except (OSError, ValueError):
                continue  # there is none, or it is "max"
    return min(found, default=0)


def trim() -> None:
    """Gives freed memory back to the system (glibc)."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


class Surplus:
    """What this process holds beyond what it needs: freed memory (glibc), and pages of programs.

    Relocation tables, self-tests, set-up code: most of the libraries' pages that the start has touched, and
    later what is done once in a while. They stay in the kernel's cache of their files, which it may reuse for
    others at once; what is needed again is mapped again. Relocated pages are this process's own, hence only
    mappings without such. The files are libraries and the interpreter, which are never unmapped: what was
    read of them still holds.
    """

    def __init__(self) -> None:
        self._interpreter = os.path.realpath("/proc/self/exe")
        self._known: set[tuple[str, str, str]] = set()
        self._unwritten: set[tuple[str, str, str]] = set()
        self._needed = 0

    async def keep_small(
        self,
        aside: Callable[[Callable[[], None]], Awaitable[None]] = asyncio.to_thread,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        used: Callable[[], float] = time.process_time,
    ) -> None:
        """Looks now and from time to time. Never returns. What takes milliseconds is done `aside`, one at a
        time: of it the loop waits only for what needs the interpreter. `used` is the processor's time."""
        pause = LOOK_S
        while True:
            if self.has_come():
                await aside(self.look)
                pause = min(2 * pause, BUSY_LOOK_S)
            else:
                pause = LOOK_S
            await _rest(pause, sleep, used)

    def has_come(self) -> bool:
        """Whether there are more than SURPLUS_BYTES since it last gave back. Takes microseconds."""
        held = _resident_bytes()
        self._needed = min(self._needed, held)
        return held > self._needed + SURPLUS_BYTES

    def look(self) -> None:
        """Gives back if there is enough of it."""
        if self.has_come():
            self.give_back()
            self._needed = _resident_bytes()

    def give_back(self) -> None:
        """To the system. The first time costs some milliseconds, after that about one."""
        self._let_go_of_programs()
        trim()

    def _let_go_of_programs(self) -> None:
        madvise = getattr(ctypes.CDLL(None), "madvise", None)
        if madvise is None:
            return
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        mapped = set(_MAPPING.findall(Path("/proc/self/maps").read_text()))
        if not mapped <= self._known:
            # The kernel walks every page for this one, so it is asked only where libraries were added.
            self._unwritten = set(_UNWRITTEN.findall(Path("/proc/self/smaps").read_text()))
            self._known = mapped
        for begin, end, file in mapped & self._unwritten:
            if ".so" in file or file == self._interpreter:
                madvise(int(begin, 16), int(end, 16) - int(begin, 16), MADV_DONTNEED)


async def _rest(pause: float, sleep: Callable[[float], Awaitable[None]], used: Callable[[], float]) -> None:
    """Until work ends that there was, or the pause."""
    step, left, works = LEAST_S if pause > LOOK_S else pause, pause, False
    while left > 0:
        before = used()
        await sleep(step)
        share = (used() - before) / step
        if works and share < QUIET:
            return
        works = works or share > WORK
        left -= step
        step = STEP_S


def _resident_bytes() -> int:
    """0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0
