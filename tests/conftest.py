"""What tests of several rooms share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from scripts.postgres import MISSING, Cluster, programs
from tests.homes import Homes

if TYPE_CHECKING:
    from collections.abc import Iterator

# A limit on the time of one example is an assertion about the machine that runs it.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Nodes and commands that tests start have their byte code, as installed ones do: half a second each."""


@pytest.fixture(scope="session")
def init(tmp_path_factory: pytest.TempPathFactory) -> Homes:
    """Makes the home of a machine, as the command of this name does, but quicker."""
    return Homes(tmp_path_factory.mktemp("homes"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One server for all tests that want one; each takes an empty schema of it."""
    binaries = programs()
    if binaries is None:
        pytest.skip(MISSING)
    cluster = Cluster(binaries)
    yield cluster
    cluster.remove()
