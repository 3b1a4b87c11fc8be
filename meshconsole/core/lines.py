"""Files of lines, cut as they are read: what is held is bounded whatever the file is. Pure."""

from __future__ import annotations

LONGEST_LINE = (1 << 20) + 4096
"""An event has 1 MiB at most; a little more may be blanks."""

TOO_LONG = "refused: invalid: the line has more than 1 MiB"
"""What a report says of such lines."""

_MARK = b"\xef\xbb\xbf"
"""What some editors write at the beginning of UTF-8."""


class Lines:
    """Blank lines are left out, and so are those that are longer than LONGEST_LINE, which are counted."""

    def __init__(self) -> None:
        self.pending = 0
        """Bytes since the end of the last line."""
        self.too_long = 0
        """Lines that were left out, ever."""
        self._rest = b""
        self._is_skipping = False
        self._at_start = True

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in these bytes, without blanks around them."""
        first, *others = data.split(b"\n")
        self._grow(first)
        if not others:
            return []
        ended = [self._end(), *others[:-1]]
        self._grow(others[-1])
        return [line for each in ended if (line := each.strip())]

    def close(self) -> list[bytes]:
        """The last line, if no sign ended it."""
        last = self._end().strip()
        return [last] if last else []

    def _grow(self, data: bytes) -> None:
        if self._at_start and data:
            self._at_start = False
            if data.startswith(_MARK):
                self.pending += len(_MARK)
                data = data[len(_MARK) :]
        self.pending += len(data)
        if not self._is_skipping:
            self._rest += data
            if len(self._rest) > LONGEST_LINE:
                self._is_skipping, self._rest = True, b""
                self.too_long += 1

    def _end(self) -> bytes:
        line, self._rest = self._rest, b""
        self._is_skipping, self.pending = False, 0
        return line
