"""Deaf sockets: nothing that arrives from other machines reaches them, so the system answers nothing.

A listening socket that is closed makes Linux answer each knock with a reset, and an open one with a
handshake. A socket filter (socket(7), SO_ATTACH_FILTER) drops the knock itself: nothing leaves.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from typing import Protocol

_ATTACH, _DETACH = 26, 27  # asm-generic/socket.h: SO_ATTACH_FILTER, SO_DETACH_FILTER
_INSTRUCTION = struct.Struct("@HBBI")  # struct sock_filter: code, jump if true, jump if false, operand
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
_INTERFACE = 0xFFFF_F000 + 8  # SKF_AD_OFF + SKF_AD_IFINDEX
_ALL, _NOTHING = 0xFFFF_FFFF, 0


class Muteable(Protocol):
    def setsockopt(self, level: int, name: int, value: bytes | int, /) -> None: ...


def mute(one: Muteable) -> bool:
    """Only this machine itself is heard from now on. False where the system cannot do it."""
    if not sys.platform.startswith("linux"):
        return False
    program = b"".join(
        _INSTRUCTION.pack(*instruction)
        for instruction in (
            (_LOAD_WORD, 0, 0, _INTERFACE),
            (_JUMP_IF_EQUAL, 0, 1, socket.if_nametoindex("lo")),
            (_RETURN, 0, 0, _ALL),
            (_RETURN, 0, 0, _NOTHING),
        )
    )
    kept = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("@HP", len(program) // _INSTRUCTION.size, ctypes.addressof(kept))
    try:
        one.setsockopt(socket.SOL_SOCKET, _ATTACH, fprog)
    except OSError:
        return False
    return True


def unmute(one: Muteable) -> None:
    if sys.platform.startswith("linux"):
        try:
            one.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
        except OSError:
            return  # it had no filter
