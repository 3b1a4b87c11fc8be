"""Who may be the device that is looked for, and who is known to be another."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from meshconsole.mesh.reach.asking import Advert, Answers
from meshconsole.mesh.reach.examine import _found_now


def test_a_device_that_is_linked_by_ipv6_is_not_taken_for_the_missing_one_by_ipv4() -> None:
    hello = SimpleNamespace(listen=("10.0.0.3:7447", "node.example:7447"))
    link = SimpleNamespace(address="[fe80::3%lan]:40000", hello=hello)
    sessions = {"c" * 64: SimpleNamespace(links=[link])}
    rungs = SimpleNamespace(is_ours=lambda _id, tag: tag == "ours")
    reach: Any = SimpleNamespace(links=SimpleNamespace(sessions=sessions), rungs=rungs)
    answers = Answers(
        {
            "10.0.0.1": Advert("me", "ours", 7447),
            "10.0.0.2": Advert("known", "ours", 7447),
            "10.0.0.3": Advert("linked", "ours", 7447),
            "10.0.0.4": Advert("stranger", "", 7447),
            "10.0.0.5": Advert("missing", "ours", 7447),
        }
    )
    found = _found_now(reach, answers, ("10.0.0.1",), ("10.0.0.2:7447",))
    assert found == ["10.0.0.5:7447", "10.0.0.4:7447"]
