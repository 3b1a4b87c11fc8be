"""What a person reads of an error: the sentence, then the hint."""

from __future__ import annotations

from meshconsole.core.errors import CorruptData, Fatal, MeshconsoleError, Unavailable
from meshconsole.core.kinds import CONTROL_KINDS, TEAM_KINDS, kind_in_words
from meshconsole.core.verdict import ACCEPTED, DUPLICATE, refuse


def test_sentence_and_hint() -> None:
    assert str(MeshconsoleError("It broke.", hint="Mend it.")) == "It broke. Mend it."
    assert str(Unavailable("Not now.")) == "Not now."


def test_corrupt_data_ends_a_command() -> None:
    error = CorruptData("Bad.", exit_code=9)
    assert isinstance(error, Fatal)
    assert error.exit_code == 9


def test_messages_of_verdicts_are_nip01_s() -> None:
    assert ACCEPTED.message == ""
    assert DUPLICATE.accepted
    assert DUPLICATE.message == "duplicate: already have this event"
    assert refuse("restricted", "team only").message == "restricted: team only"


def test_every_kind_of_ours_has_a_word() -> None:
    assert CONTROL_KINDS < TEAM_KINDS
    assert not [kind for kind in TEAM_KINDS if kind_in_words(kind).startswith("kind ")]
    assert kind_in_words(31_337) == "kind 31337"
