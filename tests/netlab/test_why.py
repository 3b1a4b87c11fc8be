"""`why`, `ping`, `trace` and `netcheck`: the causes that are injected are the ones that are named."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.netlab.impairment import Impairment
from tests.netlab.lab import Lab
from tests.netlab.team import PORT, Team, has_link, peer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.netlab.figures import Ledger

pytestmark = [pytest.mark.netlab, pytest.mark.slow]

LIMIT_S = 15.0
CLEAN_RUNS = 50
_BLOCKED = f"""
table inet blocking {{
  chain input {{
    type filter hook input priority 0
    tcp dport {PORT} drop
  }}
}}
"""


class Named(NamedTuple):
    cause: str
    took_s: float
    sentence: str


def why(team: Team, asker: str, who: str) -> Named:
    began = time.monotonic()
    shown: dict[str, Any] = _json(team, asker, "why", who)
    return Named(shown["cause"], time.monotonic() - began, shown["sentence"])


def _json(team: Team, asker: str, *words: str) -> Any:  # noqa: ANN401 - whatever the command prints
    return json.loads(team[asker].command(*words, "--json", check=False).stdout)


# --- What is injected: each returns what `why` then says ------------------------------------------


class Scene(NamedTuple):
    """An empty lab, and where homes come from."""

    lab: Lab
    homes: Path
    strangers: Path
    folder: Path

    def team(self, *names: str) -> Team:
        return Team(self.lab, self.homes, self.folder, names)


def multicast_filtered(scene: Scene, team: Team) -> Named:
    team.start()
    team.until_linked()
    scene.lab.impair_all(Impairment(carries_multicast=False))
    return why(team, "a", "b")


def one_way(scene: Scene, team: Team) -> Named:
    team.start()
    team.until_linked()
    scene.lab.cut_one_way("a", "b")
    return why(team, "a", "b")


def other_team(scene: Scene, team: Team) -> Named:
    """b's machine has been set up anew, by another team."""
    team.start()
    team.until_linked()
    team["b"].kill()
    stranger = Team(scene.lab, scene.strangers, scene.folder, ["x"], host="b")
    stranger.start()
    try:
        return why(team, "a", "b")
    finally:
        stranger.kill()


def revoked(scene: Scene, team: Team) -> Named:
    team.start()
    team.until_linked()
    npub = team["b"].json("status")["npub"]
    team["a"].command("team", "remove", npub, "--yes")
    team.until("c", "the removal", lambda status: all(m["name"] != "b" for m in status["team"]["members"]))
    return why(team, "c", "b")


def revoked_seen_by_the_removed(scene: Scene, team: Team) -> Named:
    """It does not learn of it: the link is cut before."""
    team.start()
    team.until_linked()
    npub = team["b"].json("status")["npub"]
    scene.lab.partition(["a", "c"], ["b"])
    team["a"].command("team", "remove", npub, "--yes")
    team["b"].kill()
    scene.lab.heal()
    team.start(only=["b"])
    return why(team, "b", "a")


def clock(scene: Scene, team: Team) -> Named:
    team.set_clock("b", "+1y")
    team.start()
    team.until_linked()
    return why(team, "a", "b")


def port_blocked(scene: Scene, team: Team) -> Named:
    """On both, since one that can dial is enough. Who dialled before knows the address."""
    team.start()
    team.until_linked()
    (link, *_) = peer(team["a"].json("status"), "b")["links"]
    asker, other = ("a", "b") if link["address"].endswith(f":{PORT}") else ("b", "a")
    for name in ("a", "b"):
        team[name].command("stop")
        team[name].kill()
        scene.lab.firewall(name, _BLOCKED)
    team.start(only=["a", "b"])
    return why(team, asker, other)


def dead_turn(scene: Scene, team: Team) -> Named:
    """a and b are behind routers of their own, c is reached by both; the addresses are known from before."""
    team.start()
    team.until_linked()
    for node in team.nodes.values():
        node.command("stop")
    team.kill()
    lab = scene.lab
    for number, name in ((31, "a"), (32, "b")):
        inside = f"home-{name}"
        gateway = f"192.168.{number}.1"
        lab.router(f"r{number}", wan=f"10.77.0.{number}/24", lan=f"{gateway}/24", inside=inside)
        lab.replug(name, inside, f"192.168.{number}.10/24", gateway)
    team.start("nat.turn_servers=turn:u:p@10.77.0.99:3478")
    for name in ("a", "b"):
        team.until(name, "c", lambda status: has_link(status, "c"))
    return why(team, "a", "b")


def radio_silence(scene: Scene, team: Team) -> Named:
    """b says so before it falls silent."""
    team.start()
    team.until_linked()
    team["b"].command("config", "set", "privacy.emcon=receive-only")
    team.until("a", "the end of its link to b", lambda status: not has_link(status, "b"))
    return why(team, "a", "b")


def radio_silence_of_its_own(scene: Scene, team: Team) -> Named:
    team.start()
    team.until_linked()
    team["a"].command("config", "set", "privacy.emcon=receive-only")
    team.until("a", "the end of its links", lambda status: not has_link(status, "b"))
    return why(team, "a", "b")


SCENES: dict[str, Callable[[Scene, Team], Named]] = {
    "multicast-filtered": multicast_filtered,
    "one-way": one_way,
    "other-team": other_team,
    "revoked": revoked,
    "revoked, seen by the removed": revoked_seen_by_the_removed,
    "clock": clock,
    "port-blocked": port_blocked,
    "dead-turn": dead_turn,
    "radio-silence": radio_silence,
    "radio-silence, of its own": radio_silence_of_its_own,
}


def play(name: str, homes: Path, strangers: Path, folder: Path) -> Named:
    folder.mkdir()
    with Lab() as lab:
        lab.hosts("a", "b", "c")
        scene = Scene(lab, homes, strangers, folder)
        team = scene.team("a", "b", "c")
        try:
            return SCENES[name](scene, team)
        finally:
            team.kill()


@pytest.mark.soak
def test_each_injected_cause_is_the_one_that_is_named(
    homes: Path, strangers: Path, tmp_path: Path, ledger: Ledger
) -> None:
    wrong, longest = [], 0.0
    for number, name in enumerate(SCENES):
        named = play(name, homes, strangers, tmp_path / str(number))
        print(f"{name}: {named.took_s:.1f} s: {named.cause or 'nothing'}: {named.sentence}")
        longest = max(longest, named.took_s)
        if named.cause != name.partition(",")[0]:
            wrong.append(name)
    text = f"{len(SCENES) - len(wrong)} of {len(SCENES)} scenes named rightly, the slowest in {longest:.1f} s"
    if wrong:
        text += f"; not {', '.join(wrong)}"
    ledger.measured("why", text, is_met=not wrong and longest <= LIMIT_S)


def test_filtered_multicast_is_named(homes: Path, strangers: Path, tmp_path: Path) -> None:
    named = play("multicast-filtered", homes, strangers, tmp_path / "one")
    assert named.cause == "multicast-filtered", named.sentence
    assert named.took_s <= LIMIT_S


@pytest.mark.soak
def test_nothing_is_named_where_nothing_is_wrong(lab: Lab, team: Callable[..., Team], ledger: Ledger) -> None:
    lab.hosts("a", "b", "c")
    three = team("a", "b", "c")
    three.start()
    three.until_linked()
    asked = [(asker, other) for asker in "abc" for other in "abc" if asker != other]
    named = [why(three, *asked[number % len(asked)]) for number in range(CLEAN_RUNS)]
    false = [each for each in named if each.cause]
    longest = max(each.took_s for each in named)
    text = f"{len(false)} false names in {CLEAN_RUNS} runs, the slowest in {longest:.1f} s"
    ledger.measured("why-clean", text, is_met=not false)


def test_an_echo_crosses_nodes_that_are_not_linked_and_tells_its_way(
    lab: Lab, team: Callable[..., Team]
) -> None:
    """a and c never hear each other; b hears both."""
    lab.hosts("a", "b", "c")
    lab.line("a", "b", "c")
    three = team("a", "b", "c")
    three.start()
    for name in ("a", "c"):
        three.until(name, "b", lambda status: peer(status, "b")["state"] == "up")
    pong = _json(three, "a", "ping", "c", "--count", "1")
    assert (pong["name"], pong["via"]) == ("c", ["b"])
    assert abs(pong["clock_offset_s"]) < 1
    near = _json(three, "a", "ping", "b", "--count", "1")
    # By IPv4 or IPv6, whichever link was made last.
    links = peer(three["a"].json("status"), "b")["links"]
    assert near["via"] == []
    assert near["address"] in {link["address"] for link in links}
    assert [hop["name"] for hop in _json(three, "a", "trace", "c")] == ["b", "c"]
    checks = {finding["check"]: finding for finding in _json(three, "a", "netcheck")}
    assert {"interface", "multicast", "broadcast", "mdns", "port", "servers", "clock"} <= checks.keys()
    assert checks["mdns"]["text"] == "1 other node answered"
