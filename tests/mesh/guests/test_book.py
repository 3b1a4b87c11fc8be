"""Who asks to be a guest, and who is one."""

from __future__ import annotations

from itertools import count

import pytest

from meshconsole.core.errors import Refused
from meshconsole.mesh.guests.book import MAX_GUESTS, MAX_LINKS, MAX_WAITING, Admitted, GuestBook, Link

ANNA, BEN = "a1" * 32, "b2" * 32


def book(*saved: Admitted) -> GuestBook:
    numbers = count(1)
    return GuestBook(saved, lambda: f"{next(numbers) // 2:06}")  # each one twice: codes may come again


def link(token: str = "token", name: str = "", until: float = 100.0, hours: float = 1.0) -> Link:
    return Link(token, until, name, hours)


def asked(one: GuestBook, npub: str = ANNA, token: str = "token", name: str = "Anna") -> str:
    one.open_link(link(token), 0)
    return one.ask(token, npub, name, 0).code


def test_nobody_is_a_guest_before_the_owner_says_yes() -> None:
    one = book()
    code = asked(one)
    assert one.guest(ANNA, 1) is None
    guest = one.admit(f" {code[:3]} {code[3:]} ", "", None, 10)
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
    codes = [asked(one, f"{number:064}", str(number)) for number in range(MAX_WAITING)]
    assert len(set(codes)) == MAX_WAITING
    one.open_link(link("more"), 0)
    with pytest.raises(Refused, match="Too many"):
        one.ask("more", ANNA, "Anna", 0)


def test_links_and_guests_are_bounded() -> None:
    one = book(*(Admitted(f"{number:064}", str(number), 0, 100) for number in range(MAX_GUESTS)))
    with pytest.raises(Refused, match="guests already"):
        one.admit(asked(one), "", None, 0)
    for number in range(MAX_LINKS):
        one.open_link(link(str(number)), 0)
    with pytest.raises(Refused, match="links"):
        one.open_link(link("more"), 0)
    one.open_link(link("later"), 100)


def test_the_owner_s_name_goes_before_the_guest_s_and_no_two_are_the_same() -> None:
    one = book()
    one.open_link(link("a", name="Press"), 0)
    assert one.ask("a", ANNA, "king", 0).name == "Press"
    assert one.admit(asked(one, BEN, "b"), " Ben\n\x1b[2J ", 2, 0).name.startswith("Ben")
    for number, expected in enumerate(("Anna", "Anna 2", "Anna 3")):
        assert one.admit(asked(one, f"{number:064}", "c"), "Anna", None, 0).name == expected
    assert one.admit(asked(one, "d" * 64, "d", ""), "", None, 0).name == "guest"


def test_a_guest_is_removed_by_its_name_or_its_key() -> None:
    one = book(Admitted(ANNA, "Anna", 0, 100), Admitted(BEN, "Ben", 0, 100))
    for wrong in ("Carl", "a1", ""):
        with pytest.raises(Refused, match="No guest"):
            one.remove(wrong)
    assert one.remove("Anna").npub == ANNA
    assert one.remove("b2b2").npub == BEN
    assert one.guest(ANNA, 1) is None


def test_a_code_that_nobody_shows_admits_and_refuses_nobody() -> None:
    one = book()
    asked(one)
    for act in (lambda: one.admit("999999", "", None, 0), lambda: one.refuse("999999")):
        with pytest.raises(Refused, match="No browser"):
            act()


def test_those_whose_time_is_over_are_named_once() -> None:
    anna, ben = Admitted(ANNA, "Anna", 0, 50), Admitted(BEN, "Ben", 0, 100)
    one = book(anna, ben)
    assert one.forget_old(50) == (anna,)
    assert one.forget_old(50) == ()
    assert one.guest(BEN, 50) == ben
