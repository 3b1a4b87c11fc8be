"""An invite in a file: used as soon as it can be, then wiped; what is in the way is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from meshconsole.core.errors import Refused, Unavailable
from meshconsole.mesh.join import PROPOSED
from meshconsole.node import first_boot
from meshconsole.node.first_boot import InviteFile

if TYPE_CHECKING:
    from pathlib import Path


class Team:
    """Answers to one attempt after another."""

    def __init__(self, *answers: Exception | str) -> None:
        self.answers = list(answers)
        self.texts: list[str] = []
        self.name = ""

    async def join(self, text: str) -> str:
        self.texts.append(text)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.name = answer
        return answer

    def file(self, path: Path) -> InviteFile:
        return InviteFile(path, self.join, lambda: self.name)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_boot, "FIRST_PAUSE_S", 0.0)


async def test_it_is_tried_until_somebody_answers_and_then_wiped(tmp_path: Path) -> None:
    path = tmp_path / "invite"
    path.write_text("\ufeffmc1:abc \r\n", encoding="utf-8")  # as an editor on another system writes it
    link = tmp_path / "what a card may keep"
    link.hardlink_to(path)
    team = Team(Unavailable("Nobody is there."), "Falcon")
    await team.file(path).use()
    assert team.texts == ["mc1:abc", "mc1:abc"]
    assert not path.exists()
    assert set(link.read_bytes()) == {0}


async def test_an_invite_that_never_will_do_is_explained_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "invite"
    path.write_text("mc1:used")
    await Team(Refused("restricted", "This invite was used.", hint="Ask for another.")).file(path).use()
    assert path.exists()
    assert (tmp_path / "invite.problem.txt").read_text() == "This invite was used. Ask for another.\n"


async def test_where_a_second_admin_must_agree_it_is_told_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "invite"
    path.write_text("mc1:abc")
    team = Team(Refused(PROPOSED, "A second admin must agree."), "Falcon")
    file = team.file(path)
    await file.use()
    assert team.texts == ["mc1:abc", "mc1:abc"]
    assert not path.exists()
    assert not file.answer.exists()


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"x" * 5000], ids=["empty", "not text", "too long"]
)
async def test_what_is_no_invite_is_explained_and_not_tried(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "invite"
    path.write_bytes(content)
    team = Team()
    await team.file(path).use()
    assert team.texts == []
    assert (tmp_path / "invite.problem.txt").exists()


async def test_a_device_that_was_cut_off_after_it_had_joined_wipes_it(tmp_path: Path) -> None:
    path = tmp_path / "invite"
    path.write_text("mc1:abc")
    team = Team()
    team.name = "Falcon"
    await team.file(path).use()
    assert team.texts == []
    assert not path.exists()


async def test_no_file_is_nothing_to_do(tmp_path: Path) -> None:
    await Team().file(tmp_path / "invite").use()
