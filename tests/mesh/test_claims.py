"""An event that claims two ids is taken for the same one by the store and by the sync machine."""

from __future__ import annotations

import pytest

from meshconsole.mesh.taking import claimed_id
from meshconsole.relay.event import claimed_id as claimed_at_the_store

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    "raw",
    [
        f'{{"id":"{A}","id":"{B}"}}',
        f'{{"content":"\\"id\\":\\"{B}\\"","id":"{A}"}}',
        f'{{"id" : "{A}"}}',
        '{"id":"nonsense"}',
        "not json",
    ],
)
def test_both_read_the_same_claim(raw: str) -> None:
    at_the_store = claimed_at_the_store(raw.encode())
    assert (claimed_id(raw.encode()) or b"").hex() == at_the_store
