"""The board: who has answered the newest roll call, to whom it was carried, who is silent."""

from __future__ import annotations

from meshconsole.core.kinds import TEAM_NOTE
from meshconsole.core.status import EventView, MemberStatus, RollStatus, RollWord
from meshconsole.core.verdict import ACCEPTED
from meshconsole.crypto.identity import Identity
from meshconsole.crypto.providers import default_provider
from meshconsole.crypto.suites import MC1
from meshconsole.node.recent import RecentEvents
from meshconsole.node.rollcalls import roll_call
from meshconsole.team.rollcall import Answer, Ask
from meshconsole.team.state import Team

NOW = 1_800_000_000
MEMBERS = [
    MemberStatus(name * 2, name, role, "", me=name == "a")
    for name, role in (("a", "admin"), ("b", "member"), ("c", "member"), ("o", "observer"), ("r", "relay"))
]


def said(id_: str, name: str, roll: RollWord, at: int, about: str = "") -> EventView:
    text = "ROLL CALL" if roll == "ask" else f"roll call: {roll}"
    return EventView(
        1, id_, name * 2, name, NOW + at, NOW, TEAM_NOTE, "roll call", 1, True, "stored",
        text=text, roll=roll, about=about,
    )  # fmt: skip


def states(*events: EventView, brought_to: tuple[str, ...] = ()) -> dict[str, str]:
    call = roll_call(events, MEMBERS, {"1": brought_to})
    return {} if call is None else {row.name: row.state for row in call.board}


def test_nobody_has_called() -> None:
    assert roll_call([], MEMBERS, {}) is None
    assert roll_call([said("9", "b", "ok", 1, "1")], MEMBERS, {}) is None


def test_whoever_writes_is_asked_but_for_the_one_who_asks() -> None:
    assert states(said("1", "a", "ask", 0)) == {"b": "silent", "c": "silent"}
    assert states(said("1", "b", "ask", 0)) == {"a": "silent", "c": "silent"}


def test_answers_and_where_the_call_has_come() -> None:
    events = [said("1", "a", "ask", 0), said("2", "b", "help", 5, "1")]
    assert states(*events, brought_to=("bb", "cc")) == {"b": "help", "c": "carried"}


def test_the_last_word_counts_and_other_calls_answers_do_not() -> None:
    events = [
        said("1", "a", "ask", 10),
        said("4", "b", "ok", 30, "1"),
        said("2", "b", "help", 20, "1"),
        said("3", "c", "ok", 20, "0"),
    ]
    assert states(*events) == {"b": "ok", "c": "silent"}


def test_the_newest_call_counts() -> None:
    call = roll_call([said("2", "b", "ask", 20), said("1", "a", "ask", 10)], MEMBERS, {})
    assert call is not None
    assert (call.id, call.author, call.words, call.at) == ("2", "b", "ROLL CALL", NOW + 20)


def test_an_answer_is_owed_until_it_is_given() -> None:
    asked, answered = said("1", "b", "ask", 0), said("2", "a", "out", 3, "1")
    before, after = (roll_call(events, MEMBERS, {}) for events in ([asked], [asked, answered]))
    assert before is not None
    assert before.owed
    assert after is not None
    assert not after.owed
    assert RollStatus("aa", "a", "out", NOW + 3, me=True) in after.board


def test_what_is_remembered_carries_what_the_board_needs() -> None:
    me = Identity(bytes([1]) * 32, MC1, default_provider())
    team, _ = Team.found(me, "Falcon", "alpha", NOW, default_provider())
    recent = RecentEvents(lambda: team, me)
    asked = team.seal_roll(Ask("all?"), NOW)
    answered = team.seal_roll(Answer(asked.id, "help"), NOW + 1)
    for event in (asked, team.seal_note("a note", NOW), answered):
        recent.add(event, seq=1, received_at=NOW, size=1, via="local", verdict=ACCEPTED)
    assert [(view.words, view.roll, view.about) for view in recent.rolls()] == [
        ("roll call", "ask", ""),
        ("roll call", "help", asked.id),
    ]
