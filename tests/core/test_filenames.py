from __future__ import annotations

import pytest

from meshconsole.core.errors import RemoteError
from meshconsole.core.filenames import check_name, check_path


@pytest.mark.parametrize("name", ["a", "写真.jpg", "...", "a b", "x" * 255, "-rf", "ü" * 127])
def test_names_of_files(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a/.", "a\n", "ü" * 128, "a/" * 64 + "a"]
)
def test_paths_that_lead_elsewhere_are_refused(path: str) -> None:
    with pytest.raises(RemoteError) as error:
        check_path(path)
    assert error.value.code == "bad-name"
    assert error.value.sentence.isprintable()


def test_a_path_in_its_parts() -> None:
    assert check_path("a/b c/d") == ("a", "b c", "d")
