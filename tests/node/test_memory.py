"""What the operating system may do with a node's memory."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from meshconsole.core.sections import LimitsSection
from meshconsole.node import memory
from meshconsole.node.limits.governor import memory_limit
from meshconsole.node.memory import MANY_FILES, SURPLUS_BYTES, Surplus, allow_many_files, allowed_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DIES = dedent(
    """
    import ctypes, os, resource, signal, sys
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    secret = "planted " + "in memory"
    if sys.argv[1] == "private":
        from meshconsole.node.memory import keep_memory_private
        keep_memory_private()
        assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0  # PR_GET_DUMPABLE
        assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
    os.kill(os.getpid(), signal.SIGABRT)
    """
)


def cores_of(kind: str, folder: Path) -> list[Path]:
    """What is left in `folder` by a process that crashed there."""
    done = subprocess.run(
        [sys.executable, "-c", DIES, kind],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(os.getcwd())},
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGABRT
    return list(folder.iterdir())


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    assert cores_of("private", tmp_path) == []


def test_the_crash_would_have_left_one(tmp_path: Path) -> None:
    """Else the test above would prove nothing here."""
    if not cores_of("open", tmp_path):
        pytest.skip("this system writes its core files elsewhere or not at all")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1024, 4096), (4096, 4096)),
        ((1024, resource.RLIM_INFINITY), (MANY_FILES, resource.RLIM_INFINITY)),
        ((1024, MANY_FILES + 1), (MANY_FILES, MANY_FILES + 1)),
        ((MANY_FILES + 1, MANY_FILES + 1), None),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_as_many_files_as_the_system_allows(
    monkeypatch: pytest.MonkeyPatch, before: tuple[int, int], after: tuple[int, int] | None
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    allow_many_files()
    assert asked == ([after] if after is not None else [])


LETS_GO = dedent(
    """
    import hashlib
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
    from meshconsole.node.memory import Surplus, use_few_arenas

    def held():
        fields = (line.split() for line in open("/proc/self/status"))
        return {field[0]: int(field[1]) for field in fields if field[0] in ("RssAnon:", "RssFile:")}

    use_few_arenas()
    key = MLDSA65PrivateKey.from_seed_bytes(bytes(32))
    public, digest = key.public_key().public_bytes_raw(), hashlib.sha512(b"x").digest()
    before = held()
    surplus = Surplus()
    surplus.look()
    after = held()
    assert after["RssFile:"] < before["RssFile:"] / 2, (before, after)
    assert key.public_key().public_bytes_raw() == public
    assert MLDSA65PrivateKey.from_seed_bytes(bytes(32)).public_key().public_bytes_raw() == public
    assert hashlib.sha512(b"x").digest() == digest

    import sqlcipher3  # a library more, of which other pages are its own
    surplus.give_back()
    assert sqlcipher3.connect(":memory:").execute("select 1").fetchone() == (1,)
    """
)


def test_what_the_start_used_is_given_back_and_works_on() -> None:
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    subprocess.run([sys.executable, "-c", LETS_GO], env=environment, check=True, timeout=60)


def test_it_is_given_back_when_there_is_enough_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [50 << 20]
    given: list[int] = []

    class Watched(Surplus):
        def give_back(self) -> None:
            given.append(held[0])
            held[0] -= 10 << 20

    monkeypatch.setattr(memory, "_resident_bytes", lambda: held[0])
    surplus = Watched()
    surplus.look()
    assert given == [50 << 20]
    held[0] += SURPLUS_BYTES
    surplus.look()
    assert len(given) == 1
    held[0] += 1
    surplus.look()
    assert given[1:] == [(40 << 20) + SURPLUS_BYTES + 1]
    held[0] = 20 << 20
    surplus.look()
    held[0] += SURPLUS_BYTES + 1
    surplus.look()
    assert given[2:] == [(20 << 20) + SURPLUS_BYTES + 1]


async def looks(
    monkeypatch: pytest.MonkeyPatch,
    grows: Callable[[float], bool],
    works: Callable[[float], bool],
    until: float,
) -> list[float]:
    """When a node gave back that holds too much again where `grows`, and computes where `works`."""
    held, now, used, times, at_it = [100 << 20], [0.0], [0.0], list[float](), [0]

    class Watched(Surplus):
        def give_back(self) -> None:
            at_it[0] += 1
            assert at_it[0] == 1, "by two threads at once"
            assert threading.current_thread() is not threading.main_thread(), (
                "the loop serves nobody meanwhile"
            )
            times.append(round(now[0], 1))
            held[0] = 97 << 20
            at_it[0] -= 1

    async def sleep(pause: float) -> None:
        if now[0] >= until:
            raise asyncio.CancelledError
        used[0] += pause if works(now[0]) else 0
        now[0] += pause
        held[0] = (100 if grows(now[0]) else 97) << 20

    monkeypatch.setattr(memory, "_resident_bytes", lambda: held[0])
    with pytest.raises(asyncio.CancelledError):
        await Watched().keep_small(sleep=sleep, used=lambda: used[0])
    return times


async def test_what_comes_back_each_time_is_given_back_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    given = await looks(monkeypatch, lambda now: not 13 < now < 14.7, lambda _: True, 20)
    assert given == pytest.approx([0, 2, 6, 10, 15, 17], abs=0.5)


async def test_what_work_needed_is_given_back_when_it_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    given = await looks(monkeypatch, lambda now: now < 9, lambda now: now < 8, 12)
    assert given[-1] == pytest.approx(8.2, abs=0.2)
    idle = await looks(monkeypatch, lambda _: True, lambda _: False, 12)
    assert idle == pytest.approx([0, 2, 6, 10], abs=0.2)


def test_what_a_service_manager_allows_is_found_in_the_group_and_those_above(tmp_path: Path) -> None:
    def allow(group: str, name: str, value: str) -> None:
        folder = tmp_path / "sys/fs/cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{value}\n")

    assert allowed_bytes(tmp_path) == 0
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/old\n0::/system.slice/meshconsole.service\n")
    assert allowed_bytes(tmp_path) == 0
    allow("system.slice/meshconsole.service", "memory.max", "600000000")
    allow("system.slice/meshconsole.service", "memory.high", "400000000")
    allow("system.slice", "memory.max", "max")
    assert allowed_bytes(tmp_path) == 400_000_000
    allow("system.slice", "memory.max", "300000000")
    assert allowed_bytes(tmp_path) == 300_000_000
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    allow("", "memory.max", "500000000")
    assert allowed_bytes(tmp_path) == 500_000_000


@pytest.mark.parametrize(
    ("owner_mb", "system", "limit"),
    [(0, 0, 0), (100, 0, 100_000_000), (0, 400_000_000, 360_000_000), (500, 400_000_000, 360_000_000)],
)
def test_the_smaller_of_the_owners_and_the_systems_limit_holds(
    owner_mb: int, system: int, limit: int
) -> None:
    assert memory_limit(LimitsSection(max_memory_mb=owner_mb), system) == limit
