"""What the operating system may do with this process's memory, and how much of the system it may use:
write no core file, let nobody read it, open many files.

Python cannot wipe what it no longer needs, so what keeps secrets off the disk is that memory is not
written there. The kernel's superuser reads memory all the same, and swap is the owner's to encrypt.
"""

from __future__ import annotations

import ctypes
import resource

PR_SET_DUMPABLE = 4
"""The option's number in linux/prctl.h."""


MANY_FILES = 65_536
"""Each connection is one."""


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
