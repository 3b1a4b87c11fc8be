"""The newest migration is the one that lets a store open without loading any."""

from __future__ import annotations

from meshconsole.relay.migrations import migrations
from meshconsole.relay.schema import NEWEST


def test_the_newest_migration_is_named() -> None:
    assert [migration.name for migration in migrations._migrations][-1] == NEWEST
