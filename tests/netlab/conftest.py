"""Labs that are skipped, with the reason, where the machine cannot have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.netlab.figures import Ledger
from tests.netlab.lab import Lab, missing
from tests.netlab.team import Team, found_homes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


SMALL, LARGE = "abc", "abcde"


@pytest.fixture(scope="session")
def lab_works() -> None:
    reason = missing("nft")
    if reason:
        pytest.skip(f"no network lab: {reason}")


@pytest.fixture
def lab(lab_works: None) -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture(scope="session")
def ledger() -> Iterator[Ledger]:
    """What was measured, for docs/faults.md."""
    book = Ledger()
    yield book
    book.save()


@pytest.fixture(scope="session")
def homes(lab_works: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Homes of one team, whose devices know each other but no address. To be copied."""
    folder = tmp_path_factory.mktemp("homes")
    found_homes(folder, SMALL)
    return folder


@pytest.fixture(scope="session")
def more_homes(lab_works: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of a larger team, which take longer."""
    folder = tmp_path_factory.mktemp("homes")
    found_homes(folder, LARGE)
    return folder


@pytest.fixture(scope="session")
def strangers(lab_works: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of another team's only device, "x"."""
    folder = tmp_path_factory.mktemp("strangers")
    found_homes(folder, ("x",))
    return folder


@pytest.fixture
def team(lab: Lab, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Team]]:
    """Makes nodes of the team in hosts of the lab that have the same names; killed after the test."""
    made: list[Team] = []

    def make(*names: str) -> Team:
        homes: Path = request.getfixturevalue("homes" if set(names) <= set(SMALL) else "more_homes")
        made.append(Team(lab, homes, tmp_path, names))
        return made[-1]

    yield make
    for each in made:
        each.kill()


@pytest.fixture
def pair(lab: Lab, team: Callable[..., Team]) -> Team:
    """Two nodes that are linked, in hosts "a" and "b" on one segment."""
    lab.hosts("a", "b")
    made = team("a", "b")
    made.start()
    made.until_linked()
    return made
