"""Whether the loop may wait for a disk."""

from __future__ import annotations

from meshconsole.relay.promptness import FEW, IN_A_ROW, PROMPT_S, Promptness


def test_a_disk_is_prompt_after_a_row_of_prompt_commits_and_until_the_first_slow_one() -> None:
    disk = Promptness()
    for _ in range(IN_A_ROW):
        assert not disk.is_prompt
        disk.committed(1, PROMPT_S / 2)
    assert disk.is_prompt
    disk.committed(FEW, PROMPT_S * 2)
    assert not disk.is_prompt


def test_a_large_batch_that_took_its_time_says_nothing_of_the_disk() -> None:
    disk = Promptness()
    for _ in range(IN_A_ROW):
        disk.committed(1, 0.0)
    disk.committed(FEW + 1, PROMPT_S * 20)
    assert disk.is_prompt


def test_a_disk_that_failed_is_not_prompt() -> None:
    disk = Promptness()
    for _ in range(IN_A_ROW):
        disk.committed(1, 0.0)
    disk.failed()
    assert not disk.is_prompt
