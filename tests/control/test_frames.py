from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshconsole.control.frames import (
    MAX_CLIENT_FRAME,
    body_length,
    pack,
    pack_command,
    read_client_frame,
    read_command,
    read_server_frame,
)
from meshconsole.control.keys import Unlock
from meshconsole.control.messages import (
    Answer,
    Bye,
    Cancel,
    EventsPush,
    GetStatus,
    Hello,
    Progress,
    Request,
    StatusPush,
    Subscribe,
    Welcome,
    refused,
    refused_by,
)
from meshconsole.control.notes import SendNote
from meshconsole.control.relay import ImportLines
from meshconsole.core.errors import LocalError, Refused, RemoteError, Unavailable
from tests.control.handler import a_status, an_event

if TYPE_CHECKING:
    from meshconsole.control import messages


@pytest.mark.parametrize(
    "message",
    [
        Welcome(1, "0.1.0", 77),
        Bye("The node has stopped."),
        Answer(7, refused("restricted", "No.")),
        Progress(1, 5, None, "from hawk"),
        StatusPush(a_status()),
        EventsPush((an_event(1), an_event(2)), 3),
    ],
)
def test_a_server_frame_comes_back_as_it_was(message: messages.ServerFrame) -> None:
    frame = pack(message)
    assert body_length(frame[:4], 1 << 20) == len(frame) - 4
    assert read_server_frame(frame[4:]) == message


@pytest.mark.parametrize("message", [Hello(1, "0.1.0", "x"), Cancel(3)])
def test_a_client_frame_comes_back_as_it_was(message: messages.ClientFrame) -> None:
    assert read_client_frame(pack(message)[4:]) == message


@pytest.mark.parametrize(
    "command", [GetStatus(), SendNote("hi"), ImportLines((b"{}", b"\xff")), Subscribe(0.5)]
)
def test_a_command_comes_back_as_it_was(command: messages.Command) -> None:
    request = read_client_frame(pack(Request(1, pack_command(command)))[4:])
    assert isinstance(request, Request)
    assert read_command(request.command) == command


@given(st.binary(max_size=400))
def test_no_bytes_break_the_readers(body: bytes) -> None:
    for read in (read_client_frame, read_server_frame):
        with contextlib.suppress(RemoteError):
            read(body)
    with contextlib.suppress(RemoteError):
        read_command(msgspec.Raw(body))


_leaves = st.sampled_from([None, True, -1, 1 << 63, 2.5, float("nan"), "", "text", b"", b"bytes"])
_trees = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_leaves.filter(bool).map(str), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.sampled_from(["Hello", "Request", "Cancel", "SendNote", "SetConfig", "Invite"]),
    st.dictionaries(
        st.sampled_from(
            ["id", "text", "values", "addresses", "lifetime_s", "protocol", "version", "command"]
        ),
        _trees,
    ),
)
def test_well_formed_msgpack_of_the_wrong_shape_is_named(tag: str, fields: dict[str, object]) -> None:
    body = msgspec.msgpack.encode({"type": tag, **fields})
    with contextlib.suppress(RemoteError):
        read_client_frame(body)
    with contextlib.suppress(RemoteError):
        read_command(msgspec.Raw(body))


def test_a_deep_nest_is_refused_rather_than_overflowing_the_stack() -> None:
    with pytest.raises(RemoteError):
        read_client_frame(b"\x91" * 100_000 + b"\x00")


def test_the_announced_length_is_bounded_before_anything_is_read() -> None:
    with pytest.raises(RemoteError, match=str(MAX_CLIENT_FRAME + 1)):
        body_length((MAX_CLIENT_FRAME + 1).to_bytes(4, "big"), MAX_CLIENT_FRAME)
    assert body_length(MAX_CLIENT_FRAME.to_bytes(4, "big"), MAX_CLIENT_FRAME) == MAX_CLIENT_FRAME


def test_bounds_of_a_command_are_named() -> None:
    with pytest.raises(RemoteError, match="fps"):
        read_command(pack_command(Subscribe(fps=1000)))


def test_a_frame_that_nobody_would_take_is_our_own_fault() -> None:
    with pytest.raises(LocalError):
        pack(EventsPush((an_event(1, "x" * (17 << 20)),)))


def test_a_passphrase_is_not_shown() -> None:
    assert "hunter2" not in repr(Unlock("hunter2")) + str(Request(1, pack_command(GetStatus())))


def test_errors_become_refusals() -> None:
    assert refused_by(Refused("restricted", "Full.", hint="Free.")).verdict.code == "restricted"
    assert refused_by(Refused("no-such-code", "?")).verdict.code == "error"
    reply = refused_by(Unavailable("Later."))
    assert (reply.accepted, reply.verdict.code, reply.verdict.sentence) == (False, "error", "Later.")
    with pytest.raises(Refused, match="Later"):
        reply.or_raise()
