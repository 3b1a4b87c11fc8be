"""The long list without a screen: against a plain model, and with a hundred thousand rows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from meshconsole.console.widgets.listing import Listing


def a_listing(capacity: int = 5000, *, follow: bool = False) -> Listing[int]:
    return Listing(key=lambda row: row, text=lambda row: f"row {row}", capacity=capacity, follow=follow)


def shown(listing: Listing[int]) -> list[int]:
    return [listing.row(position) for position in range(len(listing))]


def test_it_follows_until_the_person_scrolls_and_again_from_the_end() -> None:
    listing = a_listing(follow=True)
    listing.resize(5)
    listing.extend(range(20))
    assert (listing.cursor, listing.top, listing.follow) == (19, 15, True)
    listing.move(-1)
    assert not listing.follow
    listing.extend([20])
    assert listing.current() == 18
    listing.to_end()
    listing.extend([21])
    assert (listing.current(), listing.follow) == (21, True)


def test_the_cursor_stays_on_its_row_when_all_rows_come_anew() -> None:
    listing = a_listing()
    listing.replace([3, 5, 7])
    listing.to(1)
    listing.replace([1, 2, 3, 5, 7])
    assert listing.current() == 5
    listing.replace([1])
    assert listing.current() == 1
    listing.replace([])
    assert listing.current() is None


def test_a_filter_keeps_and_inverts() -> None:
    listing = a_listing()
    listing.extend(range(30))
    listing.set_filter("ROW 1")
    assert shown(listing) == [1, *range(10, 20)]
    listing.extend([100, 200])
    assert shown(listing)[-1] == 100
    listing.set_filter("!1")
    assert 200 in shown(listing)
    assert 100 not in shown(listing)
    listing.set_filter("!")
    assert len(listing) == 32
    listing.set_filter("")
    assert len(listing) == 32


def test_a_pause_holds_what_comes_and_gives_it_back() -> None:
    listing = a_listing(capacity=50)
    listing.extend(range(10))
    listing.pause()
    listing.extend(range(10, 100))
    assert (len(listing), listing.held) == (10, 90)
    listing.resume()
    assert listing.held == 0
    assert shown(listing)[-1] == 99


def test_what_came_since_the_last_look_is_new() -> None:
    listing = a_listing()
    listing.extend(range(3))
    assert listing.new == 3
    listing.look()
    listing.extend([3])
    assert listing.new == 1
    assert [listing.is_new(position) for position in range(4)] == [False, False, False, True]


def test_a_hundred_thousand_rows() -> None:
    listing = a_listing(capacity=100_000, follow=True)
    listing.resize(20)
    for start in range(0, 130_000, 500):
        listing.extend(range(start, start + 500))
    assert 100_000 <= len(listing.rows) <= 112_500
    assert listing.current() == 129_999
    listing.set_filter("row 12999")
    assert shown(listing) == list(range(129_990, 130_000)) or 12_999 in shown(listing)
    listing.to_start()
    assert listing.top == 0


@given(st.integers(1, 40), st.integers(0, 60), st.lists(st.integers(-70, 70), max_size=20))
def test_the_window_holds_the_cursor_and_no_gap(height: int, rows: int, moves: list[int]) -> None:
    listing = a_listing()
    listing.resize(height)
    listing.extend(range(rows))
    for move in moves:
        listing.move(move)
        assert 0 <= listing.top <= listing.cursor <= listing.top + height - 1 or rows == 0
        assert listing.top == 0 or listing.top + height <= rows


class ListingMachine(RuleBasedStateMachine):
    """Whatever is done to it, it shows what a plain list with a filter would show."""

    def __init__(self) -> None:
        super().__init__()
        self.listing = a_listing(capacity=40, follow=True)
        self.model: list[int] = []
        self.held: list[int] = []
        self.next = 0

    @rule(count=st.integers(0, 15))
    def extend(self, count: int) -> None:
        rows = list(range(self.next, self.next + count))
        self.next += count
        self.listing.extend(rows)
        if self.listing.paused:
            self.held = (self.held + rows)[-40:]
        else:
            self._take(rows)

    @rule(text=st.sampled_from(["", "1", "!1", "row 2", "nothing"]))
    def filter(self, text: str) -> None:
        self.listing.set_filter(text)

    @rule(rows=st.integers(-50, 50))
    def move(self, rows: int) -> None:
        self.listing.move(rows)

    @rule()
    def pause_or_resume(self) -> None:
        if self.listing.paused:
            self.listing.resume()
            self._take(self.held)
            self.held = []
        else:
            self.listing.pause()

    @rule(height=st.integers(1, 10))
    def resize(self, height: int) -> None:
        self.listing.resize(height)

    @rule()
    def end(self) -> None:
        self.listing.to_end()

    def _take(self, rows: list[int]) -> None:
        self.model += rows
        if len(self.model) > 45:
            self.model = self.model[-40:]

    @invariant()
    def shows_the_model(self) -> None:
        text = self.listing.filter
        wanted = [
            row
            for row in self.model
            if (text[1:] not in f"row {row}" if text.startswith("!") else text in f"row {row}")
        ]
        assert shown(self.listing) == wanted
        assert self.listing.current() is None or self.listing.current() in wanted
        if self.listing.follow and wanted:
            assert self.listing.current() == wanted[-1]


TestListingMachine = ListingMachine.TestCase
TestListingMachine.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
