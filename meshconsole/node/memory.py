"""What the operating system may do with this process's memory: write no core file, let nobody read it.

Python cannot wipe what it no longer needs, so what keeps secrets off the disk is that memory is not
written there. The kernel's superuser reads memory all the same, and swap is the owner's to encrypt.
"""

from __future__ import annotations

import ctypes
import resource

PR_SET_DUMPABLE = 4
"""The option's number in linux/prctl.h."""


def keep_memory_private() -> None:
    """No core file, whatever the system's core pattern, and no reading by other processes of this user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
