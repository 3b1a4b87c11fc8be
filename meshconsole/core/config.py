"""The configuration as a whole: its sections joined, read and checked. Pure; reading files is `node`'s work.

Order of precedence: defaults < file < MESHCONSOLE_SECTION_KEY environment < `--set section.key=value`.
All problems are collected and named (source, key, reason) before anything is refused.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from meshconsole.core import store_url
from meshconsole.core.errors import Fatal
from meshconsole.core.sections import (
    CapabilitiesSection,
    ConsoleSection,
    ContentSection,
    ControlSection,
    CryptoSection,
    DiscoverySection,
    EdgeSection,
    GuestsSection,
    LimitsSection,
    LogSection,
    MeshSection,
    MetricsSection,
    NatSection,
    NodeSection,
    P2pSection,
    PrivacySection,
    RelaySection,
    Section,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything the owner may set. Sections are replaced whole by `with_values`."""

    node: NodeSection = NodeSection()
    capabilities: CapabilitiesSection = CapabilitiesSection()
    relay: RelaySection = RelaySection()
    content: ContentSection = ContentSection()
    edge: EdgeSection = EdgeSection()
    limits: LimitsSection = LimitsSection()
    privacy: PrivacySection = PrivacySection()
    nat: NatSection = NatSection()
    discovery: DiscoverySection = DiscoverySection()
    crypto: CryptoSection = CryptoSection()
    console: ConsoleSection = ConsoleSection()
    control: ControlSection = ControlSection()
    log: LogSection = LogSection()
    metrics: MetricsSection = MetricsSection()
    p2p: P2pSection = P2pSection()
    mesh: MeshSection = MeshSection()
    guests: GuestsSection = GuestsSection()


RELOADABLE = frozenset(
    {
        "limits.max_connections",
        "limits.max_storage_mb",
        "limits.max_audit_mb",
        "limits.max_bandwidth_mbps",
        "limits.max_link_mbps",
        "limits.max_memory_mb",
        "limits.performance_mode",
        "limits.max_connections_per_ip",
        "limits.new_connections_per_minute",
        "limits.max_handshakes",
        "limits.max_strangers_percent",
        "limits.handshake_timeout_s",
        "limits.idle_timeout_s",
        "limits.ping_interval_s",
        "limits.ping_timeout_s",
        "limits.write_timeout_s",
        "capabilities.nostr_relay",
        "capabilities.ipfs_node",
        "capabilities.webrtc_hub",
        "privacy.emcon",
        "privacy.share_with_team_only",
        "privacy.require_authentication",
        "privacy.allow_public_discovery",
        "content.min_replicas",
        "content.max_replicas",
        "content.replica_grace_hours",
        "content.scrub_days",
        "content.peer_mbps",
        "content.pass_on",
        "relay.enable",
        "edge.tokens",
        "edge.gateway",
        "edge.routing",
        "edge.blossom",
        "edge.pinning",
        "edge.key_mb",
        "edge.urls",
        "edge.fetch_s",
        "edge.refused_cids",
        "relay.rate_limits",
        "relay.events_per_second",
        "relay.max_event_bytes",
        "relay.max_subscriptions",
        "relay.max_filters",
        "relay.max_limit",
        "relay.authors",
        "relay.min_pow_difficulty",
        "relay.max_future_s",
        "relay.search",
        "relay.urls",
        "relay.tell_members",
        "relay.trusted_proxies",
        "relay.max_sync_events",
        "relay.key_events_per_minute",
        "relay.kind_events_per_minute",
        "relay.eviction",
        "relay.evict",
        "relay.compression",
        "mesh.uplinks",
        "discovery.dht",
        "guests.port",
        "guests.hours",
        "p2p.enable",
        "p2p.listen",
        "p2p.peers",
        "p2p.public",
        "p2p.max_peers",
        "p2p.mdns",
        "p2p.dht",
        "p2p.dht_servers",
        "console.theme",
        "console.glyphs",
        "console.frames_per_second",
        "console.lock_after_minutes",
        "console.panic_confirmation",
        "log.level",
        "log.format",
        "log.max_mb",
    }
)
"""Keys that a running node applies at once; the others wait for its next start."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong: where it was set, which key, and why."""

    source: str
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.reason}" if self.key else f"{self.source}: {self.reason}"


class ConfigError(Fatal):
    """Raised with every problem found, not just the first."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(
            "The configuration has problems:\n" + "\n".join(f"  {problem}" for problem in problems),
            hint="\nCorrect them, then check with: meshconsole config check",
            exit_code=2,
        )
        self.problems = problems


Values = dict[str, dict[str, Any]]
"""Raw values by section and key, before they are typed."""


def build_config(layers: Iterable[tuple[str, Values]]) -> Config:
    """Types and merges the layers, later ones winning. Raises ConfigError with all problems."""
    problems: list[Problem] = []
    merged: Values = {}
    for source, values in layers:
        for section, entries in values.items():
            for key, value in entries.items():
                typed = _typed(source, section, key, value, problems)
                if typed is not None:
                    merged.setdefault(section, {})[key] = typed
    if problems:
        raise ConfigError(problems)
    return msgspec.convert(merged, Config)


def parse_toml(source: str, text: str) -> tuple[Values, list[Problem]]:
    """A file's values and what is wrong with its shape. Values are typed later, by build_config."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return {}, [Problem(source, "", f"is not valid TOML: {error}")]
    problems = [
        Problem(source, name, "stands outside of a [section]")
        for name, value in data.items()
        if not isinstance(value, dict)
    ]
    return {name: value for name, value in data.items() if isinstance(value, dict)}, problems


def parse_environment(environment: Mapping[str, str]) -> Values:
    """`MESHCONSOLE_LIMITS_MAX_STORAGE_MB=100` -> limits.max_storage_mb. Other names are left alone."""
    values: Values = {}
    for name, value in environment.items():
        prefix, _, rest = name.partition("_")
        section, _, key = rest.lower().partition("_")
        if prefix == "MESHCONSOLE" and key and section in section_types():
            values.setdefault(section, {})[key] = value
    return values


def parse_settings(settings: Iterable[str]) -> tuple[Values, list[Problem]]:
    """`section.key=value` strings, as `--set` takes them."""
    values: Values = {}
    problems: list[Problem] = []
    for setting in settings:
        name, equals, value = setting.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            problems.append(Problem("--set", setting, "must be written section.key=value"))
            continue
        if name.strip() == "relay.store" and store_url.holds_password(value):
            reason = "a password on the command line is seen by every user of this machine; use ~/.pgpass"
            problems.append(Problem("--set", name, reason))
            continue
        values.setdefault(section, {})[key] = value.strip()
    return values, problems


def with_values(config: Config, values: Values, source: str = "--set") -> Config:
    """`config` with some values replaced. Raises ConfigError."""
    return build_config([("configuration", to_values(config)), (source, values)])


def to_values(config: Config) -> Values:
    return {name: msgspec.to_builtins(getattr(config, name)) for name in section_types()}


_TURN_PASSWORD = re.compile(r"^(turns?:[^:@]*):.*@", re.DOTALL)
"""Up to the last @, as it is read."""


def _without_turn_password(url: str) -> str:
    return _TURN_PASSWORD.sub(rf"\1:{store_url.STARS}@", url)


def shown_values(config: Config) -> Values:
    """As `to_values`, without the passwords that `relay.store` and `nat.turn_servers` may hold."""
    values = to_values(config)
    values["relay"]["store"] = store_url.without_password(config.relay.store)
    values["nat"]["turn_servers"] = tuple(_without_turn_password(url) for url in config.nat.turn_servers)
    return values


def serves_clients(config: Config) -> bool:
    """Whether the relay takes plain Nostr clients."""
    return config.relay.enable and config.capabilities.nostr_relay


def capabilities(config: Config) -> tuple[str, ...]:
    """What the owner offers to others, by the names of the keys in [capabilities]."""
    offered = config.capabilities
    names = {
        "nostr_relay": serves_clients(config),
        "ipfs_node": offered.ipfs_node,
        "webrtc_hub": offered.webrtc_hub,
    }
    return tuple(name for name, on in names.items() if on)


@cache
def section_types() -> Mapping[str, type[Section]]:
    return MappingProxyType(get_type_hints(Config))


@cache
def field_types(section: type[Section]) -> Mapping[str, Any]:
    return MappingProxyType(get_type_hints(section, include_extras=True))


def changed_keys(old: Config, new: Config) -> set[str]:
    """Names such as "limits.max_storage_mb"."""
    before, after = to_values(old), to_values(new)
    return {f"{s}.{k}" for s, entries in after.items() for k, v in entries.items() if before[s][k] != v}


def _typed(source: str, section: str, key: str, value: object, problems: list[Problem]) -> object:
    name = f"{section}.{key}"
    sections = section_types()
    if section not in sections:
        reason = f"unknown section; the sections are {', '.join(sections)}"
        problems.append(Problem(source, name, reason))
        return None
    fields = field_types(sections[section])
    if key not in fields:
        problems.append(Problem(source, name, f"unknown key; [{section}] has {', '.join(fields)}"))
        return None
    try:
        typed: object = msgspec.convert(_from_text(value, fields[key]), fields[key])
    except msgspec.ValidationError as error:
        shown = value if isinstance(value, str | int | float | bool) else type(value).__name__
        reason = _choices(fields[key]) or _in_words(str(error))
        problems.append(Problem(source, name, f"{shown!r} does not fit: {reason}"))
        return None
    if name == "relay.store" and (reason := store_url.problem_with(str(typed))):
        problems.append(Problem(source, name, reason))
        return None
    if name == "mesh.uplinks" and (reason := _problem_with_uplinks(typed)):
        problems.append(Problem(source, name, reason))
        return None
    if name in ("p2p.peers", "p2p.dht_servers") and (reason := _problem_with_peers(typed)):
        problems.append(Problem(source, name, reason))
        return None
    if name == "content.kubo_api" and not re.fullmatch(r"https?://[^/?#@\s]+/?|/\S+", str(typed)):
        reason = f"{typed!r} is no RPC interface: write http://HOST:PORT or a multiaddr, without a password"
        problems.append(Problem(source, name, reason))
        return None
    if name == "relay.trusted_proxies" and (reason := _problem_with_networks(typed)):
        problems.append(Problem(source, name, reason))
        return None
    if name == "nat.turn_servers" and f":{store_url.STARS}@" in str(typed):
        reason = "holds stars where a password was; write the password anew"
        problems.append(Problem(source, name, reason))
        return None
    return typed


def _problem_with_uplinks(urls: object) -> str:
    """ "" if there is none."""
    for url in urls if isinstance(urls, tuple) else ():
        if not re.fullmatch(r"wss?://[^/?#@\s]+(/\S*)?", url):
            return f"{url!r} is no relay: write wss://HOST or ws://HOST, without a password"
    return ""


def _problem_with_peers(addresses: object) -> str:
    """ "" if there is none. Their parts are looked at by whoever dials them."""
    for address in addresses if isinstance(addresses, tuple) else ():
        if not re.fullmatch(r"(/[^/\s]+)*/p2p/[A-Za-z0-9]{1,128}", address):
            return f"{address!r} names no peer: write /ip4/HOST/tcp/PORT/p2p/PEER, or /p2p/PEER"
    return ""


def _problem_with_networks(texts: object) -> str:
    """ "" if there is none."""
    from ipaddress import ip_network

    for text in texts if isinstance(texts, tuple) else ():
        try:
            ip_network(text, strict=False)
        except ValueError:
            return f"{text!r} is neither an address nor a network such as 10.0.0.0/8"
    return ""


def _from_text(value: object, wanted: Any) -> object:  # noqa: ANN401 - a type expression
    """Text from the environment or a flag (and on/off anywhere) as the wanted type."""
    base = get_args(wanted)[0] if get_origin(wanted) is Annotated else wanted
    if base is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return value
    if base is bool:
        return _BOOLEANS.get(value.lower(), value)
    if base in (int, float):
        try:
            return base(value)
        except ValueError:
            return value
    if get_origin(base) is tuple:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


_BOOLEANS = {
    "true": True,
    "on": True,
    "yes": True,
    "1": True,
    "false": False,
    "off": False,
    "no": False,
    "0": False,
}


def _choices(wanted: Any) -> str:  # noqa: ANN401 - a type expression
    """ "" unless only certain words fit."""
    return f"it is one of {', '.join(get_args(wanted))}" if get_origin(wanted) is Literal else ""


def _in_words(error: str) -> str:
    return error.replace("`", "").replace("int", "whole number", 1).replace("str", "text", 1).lower()
