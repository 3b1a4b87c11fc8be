"""A home's names never collide, and stay inside of it."""

from __future__ import annotations

from pathlib import Path

from meshconsole.core.home import Home


def test_names() -> None:
    home = Home(Path("field"))
    names = [name for name, value in vars(Home).items() if isinstance(value, property)]
    places = [getattr(home, name) for name in names]
    assert len(set(places)) == len(places) >= 8
    assert all(place.parent == home.path for place in places)
