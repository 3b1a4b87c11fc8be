"""Messages of the control socket about files and the blocks they are made of. Pure."""

from __future__ import annotations

from meshconsole.control.wire import Cid, Message
from meshconsole.core.status import JobView  # noqa: TC001 - msgspec reads the annotations


class ScrubBlobs(Message, frozen=True):
    """Reads every block and compares it with its name. Answered with `CountsData`: read, damaged."""


class FetchBlob(Message, frozen=True):
    """Starts to bring a file here, or goes on with it, in the background."""

    cid: Cid


class PauseFetch(Message, frozen=True):
    """Stops a fetch until it is started again, over restarts of the node too. What came stays."""

    cid: Cid


class CancelFetch(Message, frozen=True):
    """Forgets a fetch. What came stays until room is needed."""

    cid: Cid


class ListJobs(Message, frozen=True):
    """Answered with `JobsData`."""


class JobsData(Message, frozen=True):
    """Fetches that are not done, in the order in which they were asked for."""

    jobs: tuple[JobView, ...]


FileCommand = ScrubBlobs | FetchBlob | PauseFetch | CancelFetch | ListJobs
