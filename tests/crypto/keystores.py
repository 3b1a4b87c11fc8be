"""What the tests of keystores share; the fixture `path` is in conftest.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Fatal
from meshconsole.crypto.keystore import Keystore

if TYPE_CHECKING:
    from pathlib import Path

PASS = "correct horse"
DURESS = "let me out"


def wrong_passphrase(path: Path, given: str | None) -> str:
    """What is said of it."""
    with pytest.raises(Fatal) as caught:
        Keystore.unlock(path, given)
    assert caught.value.hint
    return str(caught.value)
