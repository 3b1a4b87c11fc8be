"""Imports liboqs-python without its side effects.

Left alone, `import oqs` prints to standard output, starts ldconfig or a compiler to look for the
library, and where it finds none it clones and builds one and ends the process. So here the library
file is found first, examined, and handed to the import as the only one there is.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib
import importlib.metadata
import logging
import os
import stat
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshconsole.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST = (0, 16)
"""The first (major, minor) of liboqs that has every symbol liboqs-python 0.16 needs."""

_PREFIX_VARIABLE = "OQS_INSTALL_PATH"
_FILE_PATTERNS = ("liboqs.so", "liboqs.so.*")
NOT_FOUND = "no liboqs library is installed."
HOW_TO_GET = (
    "Install liboqs 0.16 or newer from your distribution or from its makers, as a shared library, in the "
    f"system's library folders, under ~/_oqs, or where ${_PREFIX_VARIABLE} points."
)


def load_oqs() -> tuple[Any, str]:
    """(the module `oqs`, a version text). Raises Unavailable with the reason."""
    binding = _binding_version()
    path, version = _choose(binding)
    with _only_library(path):
        try:
            oqs = importlib.import_module("oqs")
        except (Exception, SystemExit) as error:
            raise Unavailable(f"liboqs-python does not load: {type(error).__name__}.") from None
    if oqs.oqs_version() != version:
        raise Unavailable("liboqs-python loaded another liboqs than the one that was examined.")
    return oqs, f"liboqs {version}, liboqs-python {binding}"


def find_library_file() -> Path | None:
    """The first liboqs in $OQS_INSTALL_PATH, the system's library folders or `~/_oqs`, sound or not."""
    return next(_library_files(), None)


def _choose(binding: str) -> tuple[Path, str]:
    """The first sound library and its version. Raises Unavailable with what is wrong with the first one."""
    troubles: list[Unavailable] = []
    for path in _library_files():
        try:
            version = _examine(path)
            if _major_minor(version) == _major_minor(binding):
                return path, version
            # liboqs-python mirrors C structures whose layout may change with each minor version.
            raise Unavailable(f"liboqs {version} and liboqs-python {binding} do not belong together.")
        except Unavailable as trouble:
            troubles.append(trouble)
    raise troubles[0] if troubles else Unavailable(NOT_FOUND, hint=HOW_TO_GET)


def _library_files() -> Iterator[Path]:
    """One for each folder: the links and versioned names beside each other are one library."""
    for folder in _library_folders():
        found = (path for pattern in _FILE_PATTERNS for path in sorted(folder.glob(pattern)))
        if first := next(filter(Path.is_file, found), None):
            yield first


def _library_folders() -> Iterator[Path]:
    prefix = os.environ.get(_PREFIX_VARIABLE)
    if prefix:
        yield from (Path(prefix) / "lib", Path(prefix) / "lib64")
    multiarch = getattr(sys.implementation, "_multiarch", "")  # all that sysconfig would look at
    for root in ("/usr/local", "/usr"):
        if multiarch:
            yield Path(root, "lib", multiarch)
        yield from (Path(root, "lib"), Path(root, "lib64"))
    # liboqs-python's own default place: an operator who built the library by hand has it here.
    yield from (Path.home() / "_oqs" / "lib", Path.home() / "_oqs" / "lib64")


def _examine(path: Path) -> str:
    """The library's own version. Raises Unavailable for a file that others may change, or an old one."""
    for place in (path, path.resolve(), path.parent, path.parent.parent):
        found = place.stat()
        sticky = found.st_mode & stat.S_ISVTX and place.is_dir()  # there only owners replace files
        writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not sticky
        if found.st_uid not in (0, os.getuid()) or writable:
            raise Unavailable(f"{place} may be changed by other users.")
    try:
        version_of = ctypes.CDLL(str(path)).OQS_version
    except (OSError, AttributeError):
        raise Unavailable(f"{path} does not load as liboqs.") from None
    version_of.restype = ctypes.c_char_p
    version = (version_of() or b"").decode("ascii", "replace")
    if _major_minor(version) < OLDEST:
        raise Unavailable(f"liboqs {version} is older than {OLDEST[0]}.{OLDEST[1]}.")
    return version


def _binding_version() -> str:
    try:
        return importlib.metadata.version("liboqs-python")
    except importlib.metadata.PackageNotFoundError:
        raise Unavailable("liboqs-python is not installed.") from None


def _major_minor(version: str) -> tuple[int, int]:
    """(0, 0) for what is not a version."""
    parts = version.split("-")[0].split(".")
    try:
        return int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        return 0, 0


@contextmanager
def _only_library(path: Path) -> Iterator[None]:
    """While `oqs` is imported: `path` is what it finds, its installer and its voice are off."""
    logging.getLogger("oqs.oqs").disabled = True
    search = ctypes.util.find_library
    variables = {
        "PYOQS_VERSION": "disabled",  # the installer refuses this before it does anything
        "PYOQS_ENABLE_FAULTHANDLER": "0",
        _PREFIX_VARIABLE: str(path.parent.parent),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    ctypes.util.find_library = lambda name: str(path) if name == "oqs" else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ctypes.util.find_library = search
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _drop_print_handlers()


def _drop_print_handlers() -> None:
    """The handler that writes to standard output, which belongs to the console."""
    logger = logging.getLogger("oqs.oqs")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
