"""What counts as a wheel for a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from packaging.utils import parse_wheel_filename

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.mark.parametrize(
    ("wheel", "python", "processor", "fits"),
    [
        ("a-1-py3-none-any.whl", (3, 11), "aarch64", True),
        ("a-1-cp311-cp311-manylinux_2_28_aarch64.whl", (3, 11), "aarch64", True),
        ("a-1-cp311-cp311-manylinux_2_28_x86_64.whl", (3, 11), "aarch64", False),
        ("a-1-cp311-cp311-manylinux_2_28_aarch64.whl", (3, 12), "aarch64", False),
        ("a-1-cp39-abi3-manylinux_2_34_x86_64.whl", (3, 13), "x86_64", True),
        ("a-1-cp39-abi3-manylinux_2_38_x86_64.whl", (3, 13), "x86_64", False),
        ("a-1-cp311-cp311-musllinux_1_2_x86_64.whl", (3, 11), "x86_64", False),
        ("a-1-cp311-cp311-win_amd64.whl", (3, 11), "x86_64", False),
    ],
)
def test_tags(
    wheel: str, python: tuple[int, int], processor: str, fits: bool, lock_check: ModuleType
) -> None:
    tags = lock_check.Machine(python, processor).tags()
    assert bool(parse_wheel_filename(wheel)[3] & tags) == fits


def test_a_lock_is_read_with_its_markers_and_hashes(lock_check: ModuleType, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "a==1.0 ; sys_platform == 'win32' \\\n"
        f"    --hash=sha256:{'0' * 64} \\\n"
        f"    --hash=sha256:{'1' * 64}\n"
        "    # via x\n"
        "b==2.0 \\\n"
        f"    --hash=sha256:{'2' * 64}\n"
    )
    first, second = lock_check.read_lock(lock)
    machine = lock_check.Machine((3, 11), "x86_64")
    assert (first.version, len(first.hashes), second.version) == ("1.0", 2, "2.0")
    assert not lock_check._applies(first, machine)
    assert lock_check._applies(second, machine)
