"""What the page of faults says of a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.netlab import table
from tests.netlab.figures import Ledger, load

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_promise_that_is_kept_only_less_the_showing_is_not_said_to_be_met_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger()
    ledger.noted("gone", "gone after 30.1 s", is_met=True, less_showing=True)
    ledger.noted("found", "linked after 0.2 s", is_met=True)
    ledger.noted("far", "the link was lost", is_met=False)
    ledger.save(tmp_path / "figures.json")
    figures = load(tmp_path / "figures.json")
    monkeypatch.setattr(table, "load", lambda: figures)
    shown = [line.rpartition(" | ")[0::2] for line in table.page().splitlines()]
    ends = {row.rpartition(" | ")[2]: verdict for row, verdict in shown}
    assert ends["gone after 30.1 s"] == "met, less the 2 s by which it may be shown late |"
    assert ends["linked after 0.2 s"] == "met |"
    assert ends["the link was lost"] == "**not met** |"


def test_the_page_is_as_its_writer_makes_it() -> None:
    assert table.PAGE.read_text().startswith(table.HEAD)
