"""Who may ask for what: the owner everything, others what their group allows, strangers nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, get_args

import pytest

from meshconsole.control import messages as m
from meshconsole.control import rights
from meshconsole.control.audit import AcknowledgeSetBack
from meshconsole.control.client import ControlClient
from meshconsole.control.config import ReloadConfig, SetConfig
from meshconsole.control.desk import RecallDesk
from meshconsole.control.guests import AdmitGuest, ListGuests, OpenGuestLink
from meshconsole.control.keys import Panic, Unlock
from meshconsole.control.notes import SendDirect, SendNote
from meshconsole.control.rights import OPERATING, Groups, Peer, check_right, right_of
from meshconsole.control.team import Invite
from meshconsole.core.errors import Fatal, Refused

if TYPE_CHECKING:
    from pathlib import Path

    from meshconsole.control.server import ControlServer
    from tests.control.handler import Handler

GROUPS = Groups(operators=50, watchers=60)


@pytest.mark.parametrize(
    ("peer", "right"),
    [
        (Peer(1000, frozenset()), "owner"),
        (Peer(0, frozenset()), "owner"),
        (Peer(1001, frozenset({7, 50})), "operator"),
        (Peer(1001, frozenset({50, 60})), "operator"),
        (Peer(1001, frozenset({60})), "watcher"),
        (Peer(1001, frozenset({7})), None),
        (None, None),
    ],
)
def test_groups_make_rights(peer: Peer | None, right: str | None) -> None:
    assert right_of(peer, 1000, GROUPS) == right


def test_without_groups_others_may_not_attach() -> None:
    assert right_of(Peer(1001, frozenset({50})), 1000, Groups()) is None


def test_nobody_but_the_owner_names_a_path_or_touches_keys() -> None:
    for kind in get_args(m.Command):
        fields = kind.__struct_fields__
        if {"path", "destination", "passphrase"} & set(fields):
            assert kind not in OPERATING, kind
            assert kind not in m.READING, kind
    for command in (m.Stop(), Panic(), Unlock("x"), ReloadConfig(), AcknowledgeSetBack()):
        with pytest.raises(Refused):
            check_right("operator", command)


def test_a_watcher_looks_and_changes_nothing() -> None:
    check_right("watcher", m.GetStatus())
    check_right("watcher", ListGuests())
    for command in (
        SendNote("hello"),
        OpenGuestLink(),
        RecallDesk(),
    ):  # where the owner left off is the owner's
        with pytest.raises(Refused, match="may look"):
            check_right("watcher", command)


def test_an_operator_works_with_the_team_and_changes_what_takes_effect_at_once() -> None:
    check_right("operator", SendNote("hello"))
    check_right("operator", Invite())
    check_right("operator", AdmitGuest("123456"))
    check_right("operator", SendDirect("npub", "hello"))
    check_right("operator", SetConfig({"limits": {"max_storage_mb": 5}}))
    with pytest.raises(Refused, match="node's own user"):
        check_right("operator", m.Stop())
    with pytest.raises(Refused, match=r"control\.operators"):
        check_right("operator", SetConfig({"limits": {"max_storage_mb": 5}, "control": {"operators": "all"}}))


async def test_the_second_socket_asks_the_kernel(
    server: ControlServer, handler: Handler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test's own user stands for a stranger, a watcher and an operator in turn."""
    path = tmp_path / "shared.sock"
    await server.share(path, Groups())
    assert path.stat().st_mode & 0o777 == 0o666
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    monkeypatch.setattr(rights, "ROOT", -1)
    with pytest.raises(Fatal, match="another user"):
        await ControlClient(path).connect()
    server.groups = Groups(watchers=os.getegid())
    client = ControlClient(path)
    assert (await client.connect()).right == "watcher"
    assert (await client.call(m.GetStatus())).verdict.accepted
    refusal = await client.call(SendNote("hello"))
    assert (refusal.verdict.accepted, refusal.verdict.code) == (False, "restricted")
    await client.close()
    await server.stop()
    assert not path.exists()
