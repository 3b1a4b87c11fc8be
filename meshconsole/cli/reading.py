"""Commands that only read: status, peers, events, limits. Each is a console pane in plain text."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from meshconsole.cli.ask import ask_for
from meshconsole.cli.following import Row, add_follow, follow_status, pushes
from meshconsole.cli.home import home_of
from meshconsole.cli.output import print_facts, print_json, print_table, say
from meshconsole.console.widgets.meter import level
from meshconsole.console.words import (
    duration_in_words,
    loss_in_words,
    moment_in_words,
    rate_in_words,
    size_in_words,
    skew_in_words,
    uplink_in_words,
    way_in_words,
)
from meshconsole.control.messages import EventsData, EventsPush, GetStatus, ListEvents, StatusData, Subscribe
from meshconsole.core.mesh_map import mesh_map

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from meshconsole.core.home import Home
    from meshconsole.core.mesh_map import MapRow
    from meshconsole.core.status import EventView, GuestStatus, LimitsStatus, NodeStatus, PeerStatus


def configure(command: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the node's own structs")
    runs = {"status": status, "peers": peers, "events": events, "limits": limits, "map": show_map}
    parser.set_defaults(run=runs[command])
    add_follow(parser)
    if command == "events":
        parser.add_argument("--limit", type=int, default=200, metavar="N", help="at most N (default 200)")
        parser.add_argument(
            "--filter", default="", metavar="TEXT", help="only rows that hold TEXT; !TEXT inverts"
        )


def node_status(home: Home) -> NodeStatus:
    return ask_for(home, GetStatus(), StatusData).status


# --- status ---------------------------------------------------------------------------------------


def status(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.follow:
        follow_status(home, as_json=parsed.json, rows=_status_rows, value=lambda now: now)
        return
    now = node_status(home)
    if parsed.json:
        print_json(now)
    else:
        print_facts(_status_facts(now))


def _status_facts(now: NodeStatus) -> Iterator[tuple[str, str]]:
    yield "node", f"{now.name}, meshconsole {now.version}, up {duration_in_words(now.now - now.started)}"
    yield "key", now.npub
    yield "listens on", ", ".join(now.listen)
    yield "relay", _relay_in_words(now)
    if now.edge is not None:
        on = ", ".join(part.name for part in now.edge.parts if part.on) or "all switched off"
        yield "HTTP edge", f"{now.edge.address}: {on}"
    if now.relay.store:
        yield "events in", now.relay.store
    if now.team is None:
        yield "team", "none yet; make one with 'team create', or join with 'team join'"
    else:
        team = now.team
        members = "1 member" if len(team.members) == 1 else f"{len(team.members)} members"
        yield "team", f"{team.name}, {members}; this node is {team.role}"
        yield "team key", f"epoch {team.epoch}, {team.suite}"
    yield "peers", _peers_in_words(now.peers)
    yield "guests", _guests_in_words(now.guests)
    storage = now.storage
    yield (
        "storage",
        (
            f"{size_in_words(storage.used_bytes)} of {size_in_words(storage.quota_bytes)}: "
            f"{storage.events_count} events, {storage.blocks_count} blocks"
            + ("; refusing writes" if storage.refusing else "")
        ),
    )
    if storage.handed_on_blocks:
        handed_on = f"{storage.handed_on_blocks} blocks, {size_in_words(storage.handed_on_bytes)}"
        yield "passed on", f"{handed_on} of files between teammates who are not linked"
    for note in now.unread:
        yield "flash", f"{note.author} at {moment_in_words(note.received_at)}: {note.text}"
    if now.unread:
        yield "", f"acknowledge with: meshconsole receipts --read {now.unread[0].id[:8]}"
    yield "capabilities", ", ".join(now.capabilities)
    yield "crypto", now.provider
    for uplink in now.uplinks:
        yield f"uplink {uplink.url}", uplink_in_words(uplink, now.now)
    for line in now.discovery:
        yield "discovery", line
    for degraded in now.limits.degraded:
        yield "limited", degraded
    for item in now.health:
        yield item.severity, item.line


def _status_rows(now: NodeStatus) -> Iterator[Row]:
    met: dict[str, int] = {}
    for name, value in _status_facts(now):
        met[name] = met.get(name, 0) + 1
        means: object = value
        if name == "node":
            means = now.name
        elif name == "storage":
            means = now.storage.refusing, level(now.storage.used_bytes, now.storage.quota_bytes)
        elif name == "relay" or name.startswith("uplink"):
            means = value.partition(";")[0]  # rates, and when the next try is
        if value:
            yield Row(f"{name} {met[name]}", (name, value), means)


def _relay_in_words(now: NodeStatus) -> str:
    relay = now.relay
    if not relay.enabled:
        return "off"
    reach = "public" if relay.public else "team only"
    rates = f"{relay.rates.events_in:.1f} events/s in, {relay.rates.events_out:.1f} out"
    clients = f"{relay.clients} clients, {relay.subscriptions} subscriptions"
    return f"{relay.address}, {reach}, {clients}; {rates}"


def _guests_in_words(guests: tuple[GuestStatus, ...]) -> str:
    """ "" while there are none."""
    waiting = [f"{guest.code[:3]} {guest.code[3:]}" for guest in guests if guest.state == "waiting"]
    here = sum(guest.state == "here" for guest in guests)
    words = [f"{here} here, {len(guests) - len(waiting) - here} away"] if len(guests) > len(waiting) else []
    if waiting:
        words.append(f"waiting for your yes: {', '.join(waiting)}; see meshconsole guest")
    return "; ".join(words)


def _peers_in_words(peers: tuple[PeerStatus, ...]) -> str:
    up = sum(peer.state == "up" for peer in peers)
    return f"{up} of {len(peers)} up" if peers else "none known"


# --- peers ----------------------------------------------------------------------------------------


PEER_HEADS = ("name", "state", "role", "path", "hears us", "rtt", "loss", "heard", "lag", "note")


def peers(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.follow:
        follow_status(home, as_json=parsed.json, rows=_peer_rows, value=lambda now: now.peers)
        return
    now = node_status(home)
    if parsed.json:
        print_json(now.peers)
    elif not now.peers:
        say(
            "No peers yet. Invite one: meshconsole team invite"
            if now.team
            else "No peers: this node has no team yet."
        )
    else:
        print_table(
            PEER_HEADS,
            [_peer_row(peer, now.now) for peer in now.peers],
            right=frozenset({5, 6, 7, 8}),
        )
    if not parsed.json and now.uplinks:
        print_facts((f"uplink {up.url}", uplink_in_words(up, now.now)) for up in now.uplinks)


def _peer_row(peer: PeerStatus, now: float) -> tuple[str, ...]:
    rtts = [link.rtt_ms for link in peer.links if link.rtt_ms is not None]
    notes = [
        skew_in_words(peer),
        peer.last_error,
        f"next try in {duration_in_words(peer.next_try - now)}"
        if peer.next_try and peer.state != "up"
        else "",
    ]
    return (
        peer.name,
        peer.state,
        peer.role,
        _path(peer),
        {True: "yes", False: "NO", None: "?" if peer.links else "-"}[peer.hears_us],
        f"{min(rtts):.0f} ms" if rtts else "-",
        loss_in_words(peer) or "-",
        duration_in_words(now - peer.last_heard) if peer.last_heard is not None else "never",
        _lag(peer),
        "; ".join(filter(None, notes)),
    )


def _peer_rows(now: NodeStatus) -> Iterator[Row]:
    """Each value with its name, since there is no head above it."""
    for peer in now.peers:
        name, state, *rest = _peer_row(peer, now.now)
        named = [f"{head} {cell}" for head, cell in zip(PEER_HEADS[2:-1], rest, strict=False) if cell != "-"]
        is_level = peer.lag_events if peer.lag_events is None else peer.lag_events == 0
        means = (state, peer.role, _path(peer), peer.hears_us, is_level, skew_in_words(peer), peer.last_error)
        yield Row(peer.npub, (name, state, *named, rest[-1]), means)
    for up in now.uplinks:
        yield Row(up.url, (f"uplink {up.url}", uplink_in_words(up, now.now)), (up.state, up.note))


def _path(peer: PeerStatus) -> str:
    paths = way_in_words(peer) or "-"
    return paths if peer.carries == "full" else f"{paths} ({peer.carries})"


def _lag(peer: PeerStatus) -> str:
    if peer.lag_events is None:
        return "?"
    return f"{peer.lag_events} ({size_in_words(peer.lag_bytes)})" if peer.lag_bytes else str(peer.lag_events)


# --- map ------------------------------------------------------------------------------------------


def show_map(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.follow:
        follow_status(home, as_json=parsed.json, rows=_map_rows, value=mesh_map)
        return
    rows = mesh_map(node_status(home))
    if parsed.json:
        print_json(rows)
    else:
        print_table(("device", "hears", "does not hear", "reached"), _map_cells(rows))


def _map_cells(rows: tuple[MapRow, ...]) -> list[tuple[str, str, str, str]]:
    names = {row.npub: row.name or row.npub[:8] for row in rows}

    def named(npubs: tuple[str, ...]) -> str:
        return ", ".join(names.get(npub, npub[:8]) for npub in npubs) or "-"

    return [
        (
            f"{names[row.npub]} (here)" if row.here else names[row.npub],
            named(row.hears),
            named(row.deaf_to),
            "" if not row.via else row.via if row.via == "carried" else f"via {row.via}",
        )
        for row in rows
    ]


def _map_rows(now: NodeStatus) -> Iterator[Row]:
    rows = mesh_map(now)
    for row, (device, hears, deaf_to, way) in zip(rows, _map_cells(rows), strict=True):
        cells = (device, f"hears {hears}", "" if deaf_to == "-" else f"does not hear {deaf_to}", way)
        yield Row(row.npub, cells, cells)


# --- events ---------------------------------------------------------------------------------------


def events(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    limit = max(1, min(parsed.limit, 10_000))
    if parsed.follow:
        follow(home, parsed)
        return
    rows = ask_for(home, ListEvents(limit, parsed.filter), EventsData).events
    if parsed.json:
        print_json(rows)
    elif not rows:
        say("No events yet.")
    else:
        print_table(("time", "author", "kind", "verdict", "text"), [_event_row(row) for row in rows])


def follow(home: Home, parsed: argparse.Namespace) -> None:
    """Prints new events as they come, one line each (with --json: one JSON object each)."""
    wanted, inverted = parsed.filter.removeprefix("!").casefold(), parsed.filter.startswith("!")
    for push in pushes(home, Subscribe(fps=4, events=True, blobs=False)):
        if not isinstance(push, EventsPush):
            continue
        if push.dropped and not parsed.json:
            print(f"({push.dropped} not shown: they came faster than this terminal reads)", flush=True)
        for event in push.events:
            row = _event_row(event)
            if wanted and (wanted in " ".join(row).casefold()) == inverted:
                continue
            print_json(event) if parsed.json else say("  ".join(row))
        sys.stdout.flush()


def _event_row(event: EventView) -> tuple[str, ...]:
    verdict = "ok" if event.accepted and not event.verdict else event.verdict or "refused"
    text = event.line or ("(sealed)" if event.sealed else "")
    return moment_in_words(event.created_at), event.author or event.npub[:8], event.words, verdict, text


# --- limits ---------------------------------------------------------------------------------------


def limits(parsed: argparse.Namespace) -> None:
    home = home_of(parsed.home)
    if parsed.follow:
        follow_status(home, as_json=parsed.json, rows=_limit_lines, value=lambda now: now.limits)
        return
    now = node_status(home)
    if parsed.json:
        print_json(now.limits)
        return
    print_table(("what", "used", "allowed"), _limit_rows(now), right=frozenset({1, 2}))
    for degraded in now.limits.degraded:
        say(f"limited: {degraded}")
    for reason, count in sorted(now.limits.refusals.items()):
        say(f"refused: {reason.rstrip('.')}, {count} since the start")
    busy = [*now.relay.addresses[:1], *now.relay.keys[:1]]
    for talker in busy:
        say(f"busiest: {talker.source}, {talker.events} events and {talker.requests} requests lately")
    for slow in now.relay.slow:
        say(f"slow: {slow.address}, owes {size_in_words(slow.unsent_bytes)}")


def _limit_lines(now: NodeStatus) -> Iterator[Row]:
    for what, used, allowed in _limit_rows(now):
        is_number = what != "processor" and allowed != "no limit"
        cells = (what, used, f"of {allowed}" if is_number else allowed)
        yield Row(what, cells, cells)
    for degraded in now.limits.degraded:
        yield Row(f"limited {degraded}", (f"limited: {degraded}",), None)
    for reason, count in sorted(now.limits.refusals.items()):
        words = f"refused: {reason.rstrip('.')}, {count} since the start"
        yield Row(f"refused {reason}", (words,), count)
    for slow in now.relay.slow:
        owed = size_in_words(slow.unsent_bytes)
        yield Row(f"slow {slow.address}", (f"slow: {slow.address}, owes {owed}",), None)


def _limit_rows(now: NodeStatus) -> list[tuple[str, str, str]]:
    limit: LimitsStatus = now.limits
    rate = rate_in_words(limit.max_rate_bps) if limit.max_rate_bps else "no limit"
    memory = size_in_words(limit.max_memory_bytes) if limit.max_memory_bytes else "no limit"
    return [
        ("connections", str(limit.connections), str(limit.max_connections or "no limit")),
        ("storage", size_in_words(now.storage.used_bytes), size_in_words(now.storage.quota_bytes)),
        ("bandwidth in", rate_in_words(limit.rate_in_bps), rate),
        ("bandwidth out", rate_in_words(limit.rate_out_bps), rate),
        ("memory", size_in_words(limit.memory_bytes), memory),
        ("processor", f"{limit.cpu_percent:.1f} %", limit.performance_mode),
    ]
