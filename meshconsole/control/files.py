"""Messages of the control socket about files and the blocks they are made of. Pure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from meshconsole.control.wire import AbsolutePath, Cid, Message
from meshconsole.core.status import BlobView, JobView  # noqa: TC001 - msgspec reads the annotations


class ListBlobs(Message, frozen=True):
    """Answered with `BlobsData`."""


class BlobsData(Message, frozen=True):
    blobs: tuple[BlobView, ...]


class AddBlob(Message, frozen=True):
    """Adds a file to the team's store. Answered with `BlobsData` holding the one file."""

    path: AbsolutePath


class GetBlob(Message, frozen=True):
    """Fetches a file and writes it, opened, to `destination`: a file, or a folder that exists."""

    cid: Cid
    destination: AbsolutePath


class Pin(Message, frozen=True):
    """Keeps a file on this node whatever the store's pressure. 0 copies: as many as the team wants."""

    cid: Cid
    min_replicas: Annotated[int, Meta(ge=0, le=100)] = 0
    max_replicas: Annotated[int, Meta(ge=0, le=1000)] = 0
    expires_at: float | None = None


class Unpin(Message, frozen=True):
    """Lets the store drop a file when it needs the room."""

    cid: Cid


class ScrubBlobs(Message, frozen=True):
    """Reads every block and compares it with its name. Answered with `CountsData`: read, damaged."""


class FetchBlob(Message, frozen=True):
    """Starts to bring a file here, or goes on with it, in the background."""

    cid: Cid


class PreviewBlob(Message, frozen=True):
    """The first lines of a text that is here, or the names in a folder. Answered with `LinesData`."""

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


class DropBlob(Message, frozen=True):
    """Removes a file from this node. Refused where no other device is known to hold it, but with `force`."""

    cid: Cid
    force: bool = False


class ExportCar(Message, frozen=True):
    """Writes whole files, sealed as they are, to a new CAR file. Answered with `CountsData`."""

    cids: Annotated[tuple[Cid, ...], Meta(min_length=1, max_length=1000)]
    path: AbsolutePath


class ImportCar(Message, frozen=True):
    """Takes the blocks of a CAR file in; its roots are kept here. Answered with `CountsData`."""

    path: AbsolutePath


class WriteHave(Message, frozen=True):
    """Writes what this site has, so that another one packs what it lacks. Answered with `CountsData`."""

    path: AbsolutePath


class PackBundle(Message, frozen=True):
    """Packs events and files into a folder, without what `have` lists, in parts of `split_bytes` (0: one
    part). Goes on behind the whole parts that are there. Answered with `CountsData`."""

    folder: AbsolutePath
    have: Annotated[str, Meta(max_length=4096)] = ""
    split_bytes: Annotated[int, Meta(ge=0, le=1 << 40)] = 0


class TakeBundle(Message, frozen=True):
    """Takes parts in, or all parts of a folder, and writes a receipt beside them. Answered with
    `CountsData`."""

    paths: Annotated[tuple[AbsolutePath, ...], Meta(min_length=1, max_length=1000)]


FileCommand = (
    ListBlobs
    | AddBlob
    | GetBlob
    | Pin
    | Unpin
    | DropBlob
    | ExportCar
    | ImportCar
    | WriteHave
    | PackBundle
    | TakeBundle
    | ScrubBlobs
    | FetchBlob
    | PreviewBlob
    | PauseFetch
    | CancelFetch
    | ListJobs
)
