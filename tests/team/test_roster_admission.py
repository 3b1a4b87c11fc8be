"""Which entries may enter the graph at all."""

from __future__ import annotations

import pytest

from meshconsole.core.errors import LocalError, Refused
from meshconsole.team.ops import (
    MAX_ENTRIES_BY_AUTHOR,
    MAX_MEMBERS,
    AnyOp,
    Found,
    NewEpoch,
    Policy,
    Remove,
    RootKey,
    SetRole,
)
from meshconsole.team.roster import Roster
from tests.team.histories import BUNDLE, ROOT, Graph, add, entry, epoch, genesis, roles


@pytest.fixture
def graph() -> Graph:
    return Graph.found(["a0", "a1"], [add("u1"), add("watch", "observer"), add("pi", "relay")], root=True)


@pytest.mark.parametrize("author", ["u1", "watch", "pi", "stranger"])
def test_only_admins_and_the_root_key_write_entries(graph: Graph, author: str) -> None:
    with pytest.raises(Refused, match="not an admin") as caught:
        graph.write(author, [graph.first], Policy(rotate_days=1))
    assert caught.value.code == "restricted"


def test_a_removed_admin_cannot_build_on_the_removal(graph: Graph) -> None:
    removed = graph.write("a0", [graph.first], Remove(npub="a1"))
    with pytest.raises(Refused, match="not an admin"):
        graph.write("a1", [removed], Policy(rotate_days=1))


REFUSED: list[tuple[str, tuple[AnyOp, ...]]] = [
    ("rotate the epoch", (Remove(npub="u1"),)),
    ("rotate the epoch", (SetRole(npub="u1", role="relay"),)),
    ("rotate the epoch", (SetRole(npub="u1", role="observer"),)),
    ("rotate the epoch", (SetRole(npub="watch", role="relay"),)),
    ("numbered", (epoch(1),)),
    ("numbered", (epoch(3),)),
    ("at most one epoch", (epoch(2), epoch(2, "other"))),
    ("at most one epoch and one policy", (Policy(rotate_days=1), Policy(rotate_days=2))),
    ("must set a rule", (Policy(),)),
    ("founded once", (Found(name="again"),)),
    ("belongs already", (add("u1"),)),
    ("belongs already", (add("u1", "admin"),)),
    ("at most once", (add("new"), Remove(npub="new"), epoch(2))),
    ("never admitted", (Remove(npub="stranger"), epoch(2))),
    ("never admitted", (SetRole(npub="stranger", role="admin"),)),
    ("must change the role", (SetRole(npub="u1", role="member"),)),
    ("own role", (Remove(npub="a0"), epoch(2))),
    ("own role", (SetRole(npub="a0", role="member"), epoch(2))),
    ("root key", (Remove(npub=ROOT), epoch(2))),
    ("root key", (add(ROOT),)),
    ("root key", (SetRole(npub=ROOT, role="member"),)),
]


@pytest.mark.parametrize(("sentence", "ops"), REFUSED)
def test_entries_that_make_no_sense_are_refused(graph: Graph, sentence: str, ops: tuple[AnyOp, ...]) -> None:
    with pytest.raises(Refused, match=sentence):
        graph.roster.add(entry("a0", [graph.first], *ops))
    assert len(graph.roster) == 1


def test_raising_a_role_needs_no_new_epoch(graph: Graph) -> None:
    graph.roster.add(entry("a0", [graph.first], SetRole(npub="watch", role="member")))
    assert graph.roles()["watch"] == "member"


def test_a_removed_device_cannot_be_given_a_role_but_removed_again(graph: Graph) -> None:
    removed = graph.write("a1", [graph.first], Remove(npub="u1"))
    with pytest.raises(Refused, match="no role to change"):
        graph.write("a0", [removed], SetRole(npub="u1", role="admin"))
    graph.write("a0", [removed], Remove(npub="u1"))
    assert "u1" not in graph.roles()


def test_removing_again_gives_a_juniors_removal_the_seniors_weight() -> None:
    graph = Graph.found(["a0", "a1", "a2"])
    removed = graph.write("a2", [graph.first], Remove(npub="a1"))
    revenge = graph.write("a1", [graph.first], Remove(npub="a2"))
    assert graph.roles() == {"a0": "admin", "a1": "admin"}
    graph.write("a0", [removed], Remove(npub="a1"))
    assert revenge in graph.roster
    assert graph.roles() == {"a0": "admin", "a2": "admin"}


def test_parents_must_be_known(graph: Graph) -> None:
    with pytest.raises(LocalError):
        graph.roster.add(entry("a0", ["f" * 64], Policy(rotate_days=1)))
    assert graph.roster.missing(["f" * 64, graph.first]) == {"f" * 64}


def test_another_genesis_is_refused(graph: Graph) -> None:
    with pytest.raises(Refused, match="another team"):
        graph.roster.add(genesis(["a0"]))


def test_a_known_entry_changes_nothing(graph: Graph) -> None:
    made = entry("a0", [graph.first], add("u2"))
    graph.roster.add(made)
    graph.roster.add(made)
    assert len(graph.roster) == 2


BAD_GENESES: list[tuple[str, tuple[AnyOp, ...]]] = [
    ("begins by founding", (add("a0", "admin"), Found(name="t"), epoch(1))),
    ("author first", (Found(name="t"), add("a1", "admin"), add("a0", "admin"), epoch(1))),
    ("author first", (Found(name="t"), add("a0"), epoch(1))),
    ("author first", (Found(name="t"), epoch(1))),
    ("sets epoch 1", (Found(name="t"), add("a0", "admin"))),
    ("sets epoch 1", (Found(name="t"), add("a0", "admin"), epoch(2))),
    ("only", (Found(name="t"), add("a0", "admin"), Remove(npub="x"), epoch(1))),
    ("only", (Found(name="t"), add("a0", "admin"), Found(name="t"), epoch(1))),
    ("at most once", (Found(name="t"), add("a0", "admin"), add("u1"), add("u1"), epoch(1))),
    (
        "root key cannot be a member",
        (Found(name="t", root=RootKey(npub="a0", bundle=BUNDLE)), add("a0", "admin"), epoch(1)),
    ),
]


@pytest.mark.parametrize(("sentence", "ops"), BAD_GENESES)
def test_a_malformed_genesis_founds_nothing(sentence: str, ops: tuple[AnyOp, ...]) -> None:
    with pytest.raises(Refused, match=sentence):
        Roster(entry("a0", [], *ops))


def test_links_in_a_genesis_are_refused() -> None:
    linked = NewEpoch(n=2, commit="0" * 64)
    with pytest.raises(Refused, match="sets epoch 1"):
        Roster(entry("a0", [], Found(name="t"), add("a0", "admin"), linked))
    with pytest.raises(Refused, match="no parents"):
        Roster(entry("a0", ["0" * 64], Found(name="t"), add("a0", "admin"), epoch(1)))


def test_a_team_has_a_largest_size() -> None:
    graph = Graph.found(["a0"])
    at = graph.first
    for start in range(1, MAX_MEMBERS, 100):
        names = [f"u{k}" for k in range(start, min(start + 100, MAX_MEMBERS))]
        at = graph.write("a0", [at], *(add(name) for name in names))
    assert len(graph.roles()) == MAX_MEMBERS
    with pytest.raises(Refused, match="at most 512 devices"):
        graph.write("a0", [at], add("one-more"))


def test_one_admin_cannot_fill_the_roster_for_the_others() -> None:
    graph = Graph.found(["a0", "a1"])
    at = graph.first
    for k in range(MAX_ENTRIES_BY_AUTHOR):
        at = graph.write("a1", [at], Policy(rotate_days=1 + k % 2))
    with pytest.raises(Refused, match="at most 1000 entries"):
        graph.write("a1", [at], Policy(rotate_days=3))
    graph.write("a0", [at], Remove(npub="a1"))
    assert graph.roles() == {"a0": "admin"}


def test_heads_are_bounded_and_standing_ones_come_first() -> None:
    graph = Graph.found(["a0", "a1"])
    void = [graph.write("a1", [graph.first], add(f"x{k}")) for k in range(20)]
    good = graph.write("a0", [graph.first], Remove(npub="a1"))
    assert len(graph.roster.heads) == 16
    assert graph.roster.heads[0] == good
    assert set(graph.roster.heads[1:]) < set(void)


def test_the_genesis_and_unknown_entries_cannot_be_disowned(graph: Graph) -> None:
    for entry_id in (graph.first, "0" * 64):
        with pytest.raises(Refused, match="can be disowned"):
            graph.roster.heads_without([entry_id])


def test_a_view_is_what_its_author_knew(graph: Graph) -> None:
    one = graph.write("a0", [graph.first], add("u2"))
    graph.write("a1", [graph.first], add("u3"))
    assert set(roles(graph.roster.view([one]))) == {"a0", "a1", "u1", "u2", "watch", "pi"}


def test_who_could_write_under_an_epoch(graph: Graph) -> None:
    """A note under an epoch is good if its author could write then or since; not if demoted before."""
    demoted = graph.write("a0", [graph.first], SetRole(npub="u1", role="observer"))
    joined = graph.write("a0", [demoted], add("u2"))
    graph.write("a0", [joined], Remove(npub="u2"))
    first, second, third = sorted(graph.roster.epochs(), key=lambda record: record.n)
    could = graph.roster.could_write
    assert could("u1", first)
    assert not could("u1", second)
    assert could("u2", second)
    assert not could("u2", third)
    assert not could("watch", first)
    assert not could("pi", first)
    assert not could("stranger", first)
    assert could("a1", third)
