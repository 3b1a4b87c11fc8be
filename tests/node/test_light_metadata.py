"""A version is told without the module that tells everything; that one comes when more is asked."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

ASKS = dedent(
    """
    import importlib, sys
    from meshconsole.node.light_metadata import use_light_metadata
    assert "importlib.metadata" not in sys.modules
    use_light_metadata()
    import importlib.metadata
    versions = {name: importlib.metadata.version(name) for name in ("websockets", "liboqs-python", "Msgspec")}
    import websockets, websockets.version
    assert websockets.version.version
    assert "zipfile" not in sys.modules
    try:
        importlib.metadata.version("no-such-package")
    except importlib.metadata.PackageNotFoundError:
        pass
    assert "zipfile" in sys.modules
    from importlib.metadata import entry_points, version
    assert versions == {name: version(name) for name in versions}
    assert sys.modules["importlib.metadata"] is importlib.metadata
    use_light_metadata()
    assert sys.modules["importlib.metadata"].entry_points is entry_points
    """
)


def test_versions_without_the_rest_and_the_rest_when_it_is_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", ASKS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
