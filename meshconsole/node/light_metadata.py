"""`importlib.metadata` without what it brings: archives, CSV and mail, 1.3 MB of an idle node.

websockets and liboqs-python load it to ask for one version. Whoever asks for more gets the real one.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from contextlib import suppress
from types import ModuleType

NAME = "importlib.metadata"
_ENDING = ".dist-info"


class _Light(ModuleType):
    def version(self, package: str) -> str:
        """By the name of the folder that describes the installed package, of which it is a part."""
        begin = re.sub(r"[-_.]+", "_", package).lower() + "-"
        for folder in sys.path:
            with suppress(OSError):
                for name in os.listdir(folder or "."):
                    if name.lower().startswith(begin) and name.endswith(_ENDING):
                        return name[len(begin) : -len(_ENDING)]
        return str(_real().version(package))

    def __getattr__(self, name: str) -> object:
        return getattr(_real(), name)


def use_light_metadata() -> None:
    """Where the real one is not loaded yet."""
    if NAME not in sys.modules:
        importlib.metadata = sys.modules[NAME] = _Light(NAME)


def _real() -> ModuleType:
    """In its place from now on."""
    if isinstance(sys.modules.get(NAME), _Light):
        del sys.modules[NAME]
    return importlib.import_module(NAME)
