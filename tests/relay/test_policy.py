from __future__ import annotations

import msgspec
import pytest

from meshconsole.core.kinds import CARRIED_KINDS, TEAM_KINDS
from meshconsole.core.sections import RelaySection
from meshconsole.core.verdict import ACCEPTED
from meshconsole.relay.filter import Filter, matches
from meshconsole.relay.judging import RULES_FOR_ALL, VANISH_RULES, WRITE_RULES, Rules, judge_event
from meshconsole.relay.lists import Lists, allow_key, ban_event, ban_key, disallow_kind
from meshconsole.relay.policy import Client, House, judge_filters, may_ask, may_offer, narrowed
from tests.relay.making import NOW, Members, Public, fake_npub, raw, unsigned

ALICE = fake_npub("alice")
STRANGER = Client(House(Public()))
PROTECTED = unsigned(tags=(("-",),))


def code(event: object, client: Client) -> str:
    verdict = judge_event(event, client, NOW)  # type: ignore[arg-type]
    assert verdict.accepted == (verdict.code == "")
    return verdict.code


def test_gates_ask_for_proven_keys() -> None:
    access = Members({ALICE})
    for gate in (may_offer, may_ask):
        assert gate(Client(House(access))).code == "auth-required"
        assert gate(Client(House(access), (fake_npub("bob"),))).code == "restricted"
        assert gate(Client(House(access), (fake_npub("bob"), ALICE))).accepted
        assert gate(Client(House(access), trusted=True)).accepted


def test_logins_are_never_published() -> None:
    for client in (STRANGER, Client(House(Public()), trusted=True)):
        assert code(unsigned(kind=22242), client) == "invalid"


def test_protected_events_come_from_their_author() -> None:
    assert code(PROTECTED, STRANGER) == "auth-required"
    assert code(PROTECTED, Client(House(Public()), (fake_npub("bob"),))) == "restricted"
    assert code(PROTECTED, Client(House(Public()), (fake_npub("bob"), ALICE))) == ""
    assert code(PROTECTED, Client(House(Public()), trusted=True)) == ""


@pytest.mark.parametrize("kind", [6, 16])
def test_reposts_must_not_embed_protected_events(kind: int) -> None:
    assert code(unsigned(kind=kind, content=raw(PROTECTED).decode()), STRANGER) == "blocked"
    assert code(unsigned(kind=kind, content=raw(unsigned()).decode()), STRANGER) == ""
    assert code(unsigned(kind=kind, content='not JSON "-"'), STRANGER) == ""
    assert code(unsigned(kind=kind, content='{"tags":' + "[" * 9999 + '"-"'), STRANGER) == ""
    assert code(unsigned(kind=kind, content='{"tags":[["\\u002d"]]}'), STRANGER) == "blocked"
    assert code(unsigned(kind=kind, content='{"tags":[["-","more"]]}'), STRANGER) == "blocked"
    assert code(unsigned(kind=kind, content=""), STRANGER) == ""
    assert code(unsigned(kind=1, content=raw(PROTECTED).decode()), STRANGER) == ""


@pytest.mark.parametrize("kind", sorted(TEAM_KINDS))
def test_team_kinds_need_a_link(kind: int) -> None:
    assert code(unsigned(kind=kind), Client(House(Public()), (ALICE,))) == "restricted"
    assert code(unsigned(kind=kind), Client(House(Public()), trusted=True)) == ""
    assert not judge_filters([Filter(kinds=frozenset({kind}))], STRANGER).accepted
    assert judge_filters([Filter(kinds=frozenset({kind}))], Client(House(Public()), trusted=True)).accepted


def test_wider_filters_leave_team_kinds_out() -> None:
    mixed = Filter(kinds=frozenset({1, *TEAM_KINDS}))
    assert judge_filters([Filter()], STRANGER).accepted
    assert judge_filters([mixed], STRANGER).accepted
    assert judge_filters([Filter(kinds=TEAM_KINDS), Filter()], STRANGER).accepted
    assert judge_filters([Filter(kinds=frozenset())], STRANGER).accepted
    assert narrowed(mixed, STRANGER).hidden == TEAM_KINDS
    assert narrowed(mixed, Client(House(Public()), trusted=True)) == mixed


# --- Gift wraps --------------------------------------------------------------------------------------

BOB, CAROL = fake_npub("bob"), fake_npub("carol")
WRAP = unsigned("one-time", 1059, (("p", BOB),))
TEAM = Members({ALICE, BOB})


def member(npub: str, access: Members = TEAM, **config: object) -> Client:
    return Client(House(access, msgspec.convert(config, RelaySection)), (npub,))


@pytest.mark.parametrize("kind", [1059, 21059])
@pytest.mark.parametrize("authors", ["anyone", "members", "self"])
def test_nip59_the_random_author_of_a_wrap_is_not_asked_for_membership(kind: int, authors: str) -> None:
    wrap = unsigned("one-time", kind, (("p", CAROL), ("p", BOB)))
    assert judge_event(wrap, member(ALICE, authors=authors), NOW).accepted
    assert judge_event(wrap, Client(House(Public(), RelaySection(search=True))), NOW).accepted
    assert judge_event(wrap, Client(House(TEAM)), NOW).code == "auth-required"
    assert judge_event(wrap, member(CAROL, authors=authors), NOW).code == "restricted"


@pytest.mark.parametrize("authors", ["members", "self"])
def test_nip59_a_wrap_that_nobody_here_can_read_is_refused_where_authors_are_judged(authors: str) -> None:
    for tags in ((), (("p",),), (("p", CAROL, BOB),), (("q", BOB),)):
        wrap = unsigned("one-time", 1059, tags)
        assert judge_event(wrap, member(ALICE, authors=authors), NOW).code == "restricted"
        assert judge_event(wrap, member(ALICE, authors="anyone"), NOW).accepted


def test_whose_events_a_client_may_publish() -> None:
    own, colleagues, strangers = unsigned("alice"), unsigned("bob"), unsigned("carol")
    for authors, expected in (("anyone", "+++"), ("members", "++-"), ("self", "+--")):
        client = member(ALICE, authors=authors)
        judged = "".join(
            "+" if judge_event(event, client, NOW).accepted else "-" for event in (own, colleagues, strangers)
        )
        assert judged == expected, authors
    everybody = Client(House(Public(), RelaySection(authors="self")))
    assert judge_event(strangers, everybody, NOW).accepted, "nobody logs in where everybody may write"


@pytest.mark.parametrize(
    ("filters", "npubs", "code"),
    [
        ([Filter(kinds=frozenset({1059}))], (), "auth-required"),
        ([Filter(kinds=frozenset({1059, 21059}))], (), "auth-required"),
        ([Filter(kinds=frozenset({1059}))], (ALICE,), ""),
        ([Filter(kinds=frozenset({1059}), tags=(("p", frozenset({ALICE})),))], (ALICE,), ""),
        ([Filter(kinds=frozenset({1059}), tags=(("p", frozenset({BOB})),))], (ALICE,), "restricted"),
        ([Filter(kinds=frozenset({1059}), tags=(("p", frozenset({BOB, ALICE})),))], (ALICE,), ""),
        ([Filter(kinds=frozenset({1059, 1}))], (), ""),
        ([Filter(kinds=frozenset({1059})), Filter(kinds=frozenset({1}))], (), ""),
        ([Filter(ids=frozenset({WRAP.id}))], (), ""),
    ],
)
def test_nip59_a_question_for_wraps_alone_is_told_why_it_brings_nothing(
    filters: list[Filter], npubs: tuple[str, ...], code: str
) -> None:
    assert judge_filters(filters, Client(House(Public()), npubs)).code == code
    assert judge_filters(filters, Client(House(Public()), npubs, trusted=True)).accepted


def test_nip59_every_question_is_narrowed_to_the_keys_that_were_proven() -> None:
    client = Client(House(Public()), (ALICE,))
    for wanted in (Filter(), Filter(ids=frozenset({WRAP.id})), Filter(search="x")):
        assert narrowed(wanted, client).addressed == frozenset({ALICE})
        assert not matches(narrowed(wanted, client), WRAP)
    client.npubs += (BOB,)
    assert matches(narrowed(narrowed(Filter(), client), client), WRAP)
    assert narrowed(Filter(), Client(House(Public()), trusted=True)) == Filter()


# --- What the owner sets and lists -------------------------------------------------------------------


def test_search_may_be_switched_off() -> None:
    asked = [Filter(), Filter(search="x")]
    assert judge_filters(asked, Client(House(Public(), RelaySection(search=True)))).accepted
    assert judge_filters(asked, Client(House(Public(), RelaySection(search=False)))).code == "unsupported"
    assert judge_filters([Filter()], Client(House(Public(), RelaySection(search=False)))).accepted


@pytest.mark.parametrize(("ahead", "code"), [(-(10**9), ""), (0, ""), (900, ""), (901, "invalid")])
def test_events_from_the_future_are_refused_only_where_the_owner_wants_it(ahead: int, code: str) -> None:
    event = unsigned(created_at=NOW + ahead)
    strict = House(Public(), RelaySection(max_future_s=900))
    assert judge_event(event, Client(strict), NOW).code == code
    assert judge_event(event, Client(strict, trusted=True), NOW).accepted
    assert judge_event(event, Client(House(Public())), NOW).accepted


def test_a_device_of_the_team_may_exchange_what_is_sealed_and_nothing_else_of_the_team() -> None:
    device = Client(House(Public(), is_device=lambda npubs: ALICE in npubs), (ALICE,))
    for kind in TEAM_KINDS:
        carried = kind in CARRIED_KINDS
        assert code(unsigned(kind=kind), device) == ("" if carried else "restricted")
        assert judge_filters([Filter(kinds=frozenset({kind}))], device).accepted == carried
    assert narrowed(Filter(), device).hidden == TEAM_KINDS - CARRIED_KINDS


def test_a_banned_key_neither_reads_nor_writes_nor_is_published() -> None:
    house = House(TEAM, lists=lambda: ban_key(Lists(), ALICE))
    for gate in (may_offer, may_ask):
        assert gate(Client(house, (BOB, ALICE))).code == "blocked"
        assert gate(Client(house, (BOB,))).accepted
        assert gate(Client(house, (ALICE,), trusted=True)).accepted
    assert judge_event(unsigned("alice"), Client(house, (BOB,)), NOW).code == "blocked"


def test_an_allowed_key_reads_and_writes_beside_the_team() -> None:
    house = House(TEAM, RelaySection(authors="members"), lambda: allow_key(Lists(), CAROL))
    for gate in (may_offer, may_ask):
        assert gate(Client(house, (CAROL,))).accepted
    assert judge_event(unsigned("carol"), Client(house, (CAROL,)), NOW).accepted
    assert judge_event(unsigned("one-time", 1059, (("p", CAROL),)), Client(house, (BOB,)), NOW).accepted


def test_kinds_are_listed_for_plain_clients_and_banned_events_for_everybody() -> None:
    lists = ban_event(disallow_kind(Lists(), 7), unsigned().id)
    house = House(Public(), lists=lambda: lists)
    assert judge_event(unsigned(kind=7), Client(house), NOW).code == "blocked"
    assert judge_event(unsigned(kind=7), Client(house, trusted=True), NOW).accepted
    assert judge_event(unsigned(), Client(house), NOW).code == "blocked"
    assert judge_event(unsigned(), Client(house, trusted=True), NOW).code == "blocked"


def test_every_refusal_of_a_rule_has_a_prefix_of_nip01_and_a_sentence() -> None:
    house = House(
        TEAM, RelaySection(authors="self", min_pow_difficulty=99), lambda: disallow_kind(Lists(), 7)
    )
    events = [
        unsigned("carol", kind, tags) for kind in (1, 6, 7, 62, 1059, 4201, 22242) for tags in ((), (("-",),))
    ]
    verdicts = [
        judge_event(event, Client(house, npubs), NOW) for event in events for npubs in ((), (BOB,), (CAROL,))
    ]
    refused = [verdict for verdict in verdicts if not verdict.accepted]
    assert len(refused) > len(events)
    for verdict in refused:
        assert verdict.code in {"auth-required", "restricted", "blocked", "invalid", "pow"}
        assert len(verdict.sentence) > 10
        assert verdict.sentence[-1] != "."


@pytest.mark.parametrize("rules", [WRITE_RULES, RULES_FOR_ALL, VANISH_RULES])
def test_a_rule_refuses_no_kind_but_those_that_it_is_asked_about(rules: Rules) -> None:
    told = {kind for about, _ in rules.all for kind in about or ()}
    client = Client(House(TEAM, RelaySection(authors="self")), (BOB,))
    for kind in {*told, *range(10), 62, 1059, 20001, 30023, 65535}:
        event = unsigned("carol", kind, (("-",), ("claim", "x")), content='{"tags":[["-"]]}')
        asked = rules.of(kind)
        for _, rule in rules.all:
            assert rule in asked or rule(event, client, NOW) is ACCEPTED, (kind, rule.__name__)
        assert asked == tuple(rule for _, rule in rules.all if rule in asked), "in their order"


def test_rules_are_kept_at_hand_for_so_many_kinds_only() -> None:
    rules = Rules(*WRITE_RULES.all)
    asked = {kind: rules.of(kind) for kind in range(3 * Rules.MAX_KINDS)}
    assert len(rules._by_kind) <= Rules.MAX_KINDS
    assert all(rules.of(kind) == found for kind, found in asked.items())
