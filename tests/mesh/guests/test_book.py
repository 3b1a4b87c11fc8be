"""Who asks to be a guest, and who is one."""

from __future__ import annotations

from itertools import count

import pytest

from meshconsole.core.errors import Refused
from meshconsole.mesh.guests.book import MAX_GUESTS, MAX_LINKS, Admitted, GuestBook, Link

ANNA, BEN = "a1" * 32, "b2" * 32


def book(*saved: Admitted) -> GuestBook:
    numbers = count(1)
    return GuestBook(saved, lambda: f"{next(numbers) // 2:06}")  # each one twice: codes may come again


def link(token: str = "token", name: str = "", until: float = 100.0, hours: float = 1.0) -> Link:
    return Link(token, until, name, hours)


def asked(one: GuestBook, npub: str = ANNA, token: str = "token", name: str = "Anna") -> str:
    one.open_link(link(token), 0)
    return one.ask(token, npub, name, 0).code


def admit(one: GuestBook, code: str, name: str, hours: float | None, now: float) -> Admitted:
    waiting, guest = one.to_admit(code, name, hours, now)
    assert (one.waiting[waiting.code], one.guests.get(guest.npub)) == (waiting, None), "before it is saved"
    one.admit(waiting, guest)
    return guest


def test_nobody_is_a_guest_before_the_owner_says_yes() -> None:
    one = book()
    code = asked(one)
    assert one.guest(ANNA, 1) is None
    guest = admit(one, f" {code[:3]} {code[3:]} ", "", None, 10)
    assert guest == Admitted(ANNA, "Anna", 10, 10 + 3600) == one.guest(ANNA, 11)
    assert one.guest(ANNA, 10 + 3600) is None
    assert not one.waiting


def test_a_link_is_for_one_browser() -> None:
    one = book()
    asked(one)
    for token in ("token", "other", ""):
        with pytest.raises(Refused, match="used already"):
            one.ask(token, BEN, "Ben", 1)


def test_a_link_has_its_time() -> None:
    one = book()
    one.open_link(link(until=50), 0)
    with pytest.raises(Refused):
        one.ask("token", ANNA, "Anna", 50)


def test_a_page_that_is_closed_while_it_waits_may_be_opened_again() -> None:
    one = book()
    one.gave_up(asked(one))
    code = one.ask("token", BEN, "Ben", 1).code
    one.refuse(code)
    one.gave_up(code)
    with pytest.raises(Refused):
        one.ask("token", BEN, "Ben", 1)


def test_codes_differ_while_they_are_shown() -> None:
    one = book()
    codes = [asked(one, f"{number:064}", str(number)) for number in range(MAX_LINKS)]
    assert len(set(codes)) == MAX_LINKS


def test_links_of_browsers_that_wait_count_as_they_may_be_free_again() -> None:
    one = book()
    codes = [asked(one, f"{number:064}", str(number)) for number in range(MAX_LINKS - 1)]
    one.open_link(link("more"), 0)
    with pytest.raises(Refused, match="browsers that wait"):
        one.open_link(link("one too many"), 0)
    for code in codes:
        one.gave_up(code)
    assert len(one.links) == MAX_LINKS
    with pytest.raises(Refused, match="links"):
        one.open_link(link("one too many"), 0)


def test_a_browser_that_gives_up_while_its_owner_says_yes_leaves_no_link() -> None:
    one = book()
    waiting, guest = one.to_admit(asked(one), "", None, 0)
    one.gave_up(waiting.code)
    one.admit(waiting, guest)
    assert (one.links, one.waiting, one.guest(ANNA, 1)) == ({}, {}, guest)


def test_links_and_guests_are_bounded() -> None:
    one = book(*(Admitted(f"{number:064}", str(number), 0, 100) for number in range(MAX_GUESTS)))
    with pytest.raises(Refused, match="guests already"):
        admit(one, asked(one), "", None, 0)
    for number in range(MAX_LINKS - 1):  # and one waits
        one.open_link(link(str(number)), 0)
    with pytest.raises(Refused, match="links"):
        one.open_link(link("more"), 0)
    one.open_link(link("later"), 100)


def test_the_owner_s_name_goes_before_the_guest_s_and_no_two_are_the_same() -> None:
    one = book()
    one.open_link(link("a", name="Press"), 0)
    assert one.ask("a", ANNA, "king", 0).name == "Press"
    assert admit(one, asked(one, BEN, "b"), " Ben\n\x1b[2J ", 2, 0).name.startswith("Ben")
    for number, expected in enumerate(("Anna", "Anna 2", "Anna 3")):
        assert admit(one, asked(one, f"{number:064}", "c"), "Anna", None, 0).name == expected
    assert admit(one, asked(one, "d" * 64, "d", ""), "", None, 0).name == "guest"


def test_a_guest_is_removed_by_its_name_or_its_key() -> None:
    one = book(Admitted(ANNA, "Anna", 0, 100), Admitted(BEN, "Ben", 0, 100))
    for wrong in ("Carl", "a1", ""):
        with pytest.raises(Refused, match="No guest"):
            one.called(wrong)
    assert one.called("Anna").npub == ANNA
    assert one.called("b2b2").npub == BEN
    assert one.without(one.guests[ANNA]) == (one.guests[BEN],)


def test_a_code_that_nobody_shows_admits_and_refuses_nobody() -> None:
    one = book()
    asked(one)
    for act in (lambda: admit(one, "999999", "", None, 0), lambda: one.refuse("999999")):
        with pytest.raises(Refused, match="No browser"):
            act()


def test_those_whose_time_is_over_stay_in_the_book_until_their_end_is_saved() -> None:
    anna, ben = Admitted(ANNA, "Anna", 0, 50), Admitted(BEN, "Ben", 0, 100)
    one = book(anna, ben)
    one.open_link(link(), 50)
    one.ask("token", "c" * 64, "Carl", 50)
    assert one.over(49) == ()
    assert one.over(50) == (anna,) == one.over(50)
    assert one.guest(ANNA, 50) is None
    assert one.guest(BEN, 50) == ben
