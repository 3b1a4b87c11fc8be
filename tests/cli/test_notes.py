from __future__ import annotations

import io

from meshconsole.cli import notes
from meshconsole.cli.notes import _batches, _read
from meshconsole.control.frames import HEADER, MAX_CLIENT_FRAME, pack, pack_command, read_command
from meshconsole.control.messages import Request
from meshconsole.control.relay import ImportLines
from meshconsole.core.lines import LONGEST_LINE, Lines


def test_what_is_read_from_input_fits_the_messages_to_the_node() -> None:
    """As many lines as one message holds, or a single one of any length that is taken."""
    source = [b"x" * LONGEST_LINE, *(b"%04d" % n * 15_000 for n in range(100)), *([b"y"] * 2500)]
    batches = list(_batches(_read(Lines(), io.BytesIO(b"\n".join(source)))))
    assert [line for batch in batches for line in batch] == source
    for batch in batches:
        command = pack_command(ImportLines(batch))
        assert len(pack(Request(1, command))) <= HEADER + MAX_CLIENT_FRAME
        read_command(command)
    assert len(batches) < 15
    assert max(map(len, batches)) == notes.BATCH_LINES
