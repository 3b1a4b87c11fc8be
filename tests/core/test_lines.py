from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshconsole.core import lines
from meshconsole.core.lines import Lines


@given(st.lists(st.sampled_from([b"a", b"bc ", b"\n", b"\r\n", b"0123456789ab", b"\n\n"]).flatmap(st.just)))
def test_lines_come_out_whole_however_they_are_cut(pieces: list[bytes]) -> None:
    longest, lines.LONGEST_LINE = lines.LONGEST_LINE, 10
    try:
        cutter, found, read = Lines(), list[bytes](), 0
        for piece in pieces:
            found += cutter.feed(piece)
            read += len(piece)
            whole = b"".join(pieces)[:read]
            assert read - cutter.pending == whole.rfind(b"\n") + 1, "where to go on"
        found += cutter.close()
    finally:
        lines.LONGEST_LINE = longest
    every = b"".join(pieces).split(b"\n")
    short = [line.strip() for line in every if len(line) <= 10]
    assert found == [line for line in short if line]
    assert cutter.too_long == len(every) - len(short)


def test_the_mark_at_the_beginning_is_no_part_of_the_first_line() -> None:
    cutter = Lines()
    assert cutter.feed(b"\xef\xbb\xbfone\ntwo") == [b"one"]
    assert cutter.close() == [b"two"]


def test_what_is_held_is_bounded() -> None:
    cutter = Lines()
    for _ in range(40):
        assert cutter.feed(b"x" * 100_000) == []
    assert (cutter.too_long, cutter.pending) == (1, 4_000_000)
    assert len(cutter._rest) <= lines.LONGEST_LINE + 100_000
