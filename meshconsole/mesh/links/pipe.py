"""Pipes: how the bytes of a link travel. Untrusted; the link's TLS session runs inside.

A pipe carries messages of at most PIPE_MESSAGE bytes, in order and without loss while it lives. The
link treats them as one stream of bytes; where messages begin and end means nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from meshconsole.core.status import PathName


class PipeClosed(Unavailable):
    """The pipe is no more; the sentence says why, as far as this side knows."""


class Standing(NamedTuple):
    """How far the other end's system has confirmed what was handed on, in bytes since the beginning."""

    handed_on: int
    acked: int
    rtt_s: float
    varies_s: float
    """How far round trips are from `rtt_s`, on the average."""
    repeated: int = 0
    """Packets that were sent again since the beginning."""


class Pipe(Protocol):
    """The laws every pipe keeps:

    - `send` hands the message over before it waits for anything, and then waits until the pipe has room
      again: cancelling it never loses or doubles a message.
    - `send` and `receive` raise PipeClosed once the pipe has ended, whoever ended it.
    - `close` never raises, may be called twice, and takes at most a second.
    """

    @property
    def path(self) -> PathName: ...

    @property
    def address(self) -> str:
        """HOST:PORT of the other end, for people."""

    @property
    def own_host(self) -> str:
        """This machine's address that the pipe stands on; "" where that is not known."""

    @property
    def channel(self) -> str:
        """The data channel's label; "" where there is none."""

    @property
    def relayed(self) -> bool:
        """Whether a TURN server stands between."""

    async def send(self, message: bytes) -> None: ...

    async def receive(self) -> bytes: ...

    async def close(self, reason: str) -> None: ...

    def standing(self) -> Standing | None:
        """None where this system does not tell."""

    def narrow(self, is_narrow: bool, /) -> None:
        """Whether the way is slow: then as little as possible may wait below the link, where nothing
        urgent can overtake it."""


class Meter(Protocol):
    """The owner's bandwidth, for all links and clients together. Both wait until the bytes may pass."""

    async def wait_out(self, count: int, /) -> None: ...

    async def wait_in(self, count: int, /) -> None: ...


class Meters(Meter, Protocol):
    """With a limit for each link, too."""

    def of_one(self) -> Meter:
        """The meter of one more link."""
