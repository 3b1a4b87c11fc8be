"""The sections of the configuration: every key with its type, bounds, default, and what it does. Pure.

docs/reference.md is generated from these docstrings.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

EmconLevel = Literal["open", "quiet", "receive-only", "dark"]
PerformanceMode = Literal["saver", "balanced", "full"]
PerformanceChoice = Literal["saver", "balanced", "full", "auto"]
Percent = Annotated[int, Meta(ge=0, le=100)]
Natural = Annotated[int, Meta(ge=0, le=1 << 40)]
Positive = Annotated[int, Meta(ge=1, le=1 << 40)]
Rate = Annotated[float, Meta(ge=0, le=1e6)]
KindRate = Annotated[str, Meta(pattern=r"^[0-9]{1,5}(-[0-9]{1,5})?=[0-9]{1,9}$")]
_WORD = r"(strangers|team|kinds=[0-9]{1,5}(,[0-9]{1,5})*|older=[0-9]{1,5}d)"
EvictionRule = Annotated[str, Meta(pattern=rf"^{_WORD}( {_WORD})*$")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class NodeSection(Section, frozen=True):
    """This node."""

    name: Annotated[str, Meta(min_length=1, max_length=64)] = "unnamed"
    """What teammates see. The one of the roster was chosen when the device was admitted."""
    listen: str = ":7447"
    """HOST:PORT for the relay and for links. Without a host, or with `[::]`, it is every address of this
    machine by IPv4 and IPv6, those of a bare cable (link-local) too; `0.0.0.0` is IPv4 alone. Port 0 takes a
    free one."""


class CapabilitiesSection(Section, frozen=True):
    """What this node offers to others."""

    nostr_relay: bool = True
    """Off: plain Nostr clients are refused; links of the team are served all the same."""
    ipfs_node: bool = True
    """Off: files are fetched for this device, and given to nobody."""
    webrtc_hub: bool = True
    """Off: no data channels; links use WebSockets only."""


class RelaySection(Section, frozen=True):
    """The embedded Nostr relay."""

    enable: bool = True
    """Off: as capabilities.nostr_relay off."""
    store: str = ""
    """Where events are kept. Empty or `sqlite`: encrypted, in the home. `postgresql://USER@HOST/DATABASE`:
    in a PostgreSQL, which other nodes may share; encrypting its disk and its connections is then its
    operator's matter. What is sealed for the team stays sealed. A password is better kept in `~/.pgpass`."""
    rate_limits: bool = True
    """Off: no limit on events or requests per connection."""
    events_per_second: Positive = 50
    """The most events, and the most requests, that one connection may send."""
    max_event_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)] = 131_072
    """The largest event taken from a plain client."""
    max_subscriptions: Positive = 64
    """Per connection."""
    max_filters: Positive = 32
    """Per request."""
    max_limit: Positive = 1000
    """The most stored events that one request is answered with."""
    authors: Literal["anyone", "members", "self"] = "anyone"
    """Whose events a client may publish, where not everybody may write: anyone's, those of members, or
    only those of the keys it has logged in with. Gift wraps are judged by whom they are for."""
    min_pow_difficulty: Annotated[int, Meta(ge=0, le=256)] = 0
    """Proof of work (NIP-13) that plain clients must show, in bits; 0 is none."""
    max_future_s: Natural = 0
    """How far an event of a plain client may be ahead of this clock; 0 is as far as it likes."""
    search: bool = True
    """Off: plain clients cannot search (NIP-50)."""
    urls: tuple[str, ...] = ()
    """Other URLs of this relay, such as the team's own name for it: `wss://relay.example`. Logins and
    requests to vanish (NIP-62) may name them."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies in front of this relay, such as `127.0.0.1` and `10.0.0.0/8`: the
    client is then whom they name in X-Forwarded-For. From others the header is not looked at."""
    tls_listen: str = ""
    """HOST:PORT where plain clients reach the relay by wss://, beside node.listen; empty: nowhere."""
    tls_certificate: str = ""
    """A file in PEM, the chain included; empty: one that this node makes itself, of which clients must be
    told."""
    tls_key: str = ""
    """The file with its key, in PEM and without a passphrase."""
    tell_members: bool = True
    """Whoever may read here with a Nostr client sees who belongs to the team (NIP-43). Strangers who ask
    what this relay is see a key that it has for this alone. Only while privacy.share_with_team_only is on."""
    max_sync_events: Positive = 250_000
    """The most events that one reconciliation (NIP-77) may cover. Each takes 40 bytes of memory, and 220
    more for the seconds in which it begins."""
    key_events_per_minute: Natural = 0
    """The most events that clients logged in with one key (NIP-42) may send together; 0 is no limit."""
    kind_events_per_minute: tuple[KindRate, ...] = ()
    """`KIND=N` or `FIRST-LAST=N`: the most events of these kinds that one client may send. A client is its
    key if it has logged in, else its address."""
    eviction: Literal["off", "oldest"] = "off"
    """What happens when the storage is full. off: new events are refused. oldest: the oldest events make
    room, in the order of relay.evict; what makes the team never does."""
    evict: tuple[EvictionRule, ...] = ("strangers", "kinds=1059", "team")
    """Which events go first when the storage is full: rules, each of one or more of `strangers`, `team`,
    `kinds=N,N` and `older=DAYSd`. All events of a rule go, oldest first, before those of the next. Events
    that no rule covers are kept."""
    compression: Literal["off", "on"] = "off"
    """on: permessage-deflate for clients who ask for it, from their next connection on: about 50 kB of
    memory for each, and 20 to 40 us of processor for each message. For slow and metered links."""


class ContentSection(Section, frozen=True):
    """The embedded IPFS content store."""

    backend: Literal["flat", "kubo"] = "flat"
    """Where blocks are kept. flat: files in the home. kubo: a Kubo node, by its RPC interface; it should be
    this node's alone. What is in the one is not in the other: teammates' copies are fetched anew."""
    kubo_api: str = "http://127.0.0.1:5001"
    """Where the RPC interface of that Kubo node is: an http or https URL, or a multiaddr as
    `ipfs config Addresses.API` says it."""
    kubo_token_file: str = ""
    """The file with the secret that its API.Authorizations asks for, written as there (`bearer:TOKEN` or
    `basic:USER:PASSWORD`). Nobody but its owner may read it."""
    min_replicas: Annotated[int, Meta(ge=1, le=100)] = 1
    """Copies of each pinned file that this node wants in the team; the team's rule may ask for more. While
    there are fewer, nodes with room make some."""
    max_replicas: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Copies beyond this number that nodes made for the team are dropped again; 0 is no limit."""
    replica_grace_hours: Annotated[float, Meta(ge=0.1, le=8760)] = 24.0
    """A device that is away counts for so long, with all it holds. Only then are copies made in its place."""
    scrub_days: Annotated[float, Meta(ge=0, le=3650)] = 30.0
    """So often every block is read and compared with its hash without being asked for, slowly, and not while
    the node is short of anything; 0 is never."""
    peer_mbps: Rate = 0.0
    """What each teammate's device is sent of files at most, in megabits (10^6) per second; 0 is no limit
    but that of all together."""
    pass_on: bool = True
    """Whether blocks of files go through this node between teammates who are not linked to each other. What
    goes through is ciphertext, is sent within the limits, and is kept only where there is room to spare."""


class EdgeSection(Section, frozen=True):
    """The content store for other programs of this machine, over HTTP."""

    listen: str = ""
    """HOST:PORT on this machine, such as 127.0.0.1:7480; empty: off, with all that follows."""
    beyond_this_machine: bool = False
    """On: edge.listen may be an address that other machines reach. Every request then needs a token, or for
    Blossom a key that may use the relay. There is no TLS: put a proxy in front."""
    tokens: Literal["auto", "always"] = "auto"
    """Who shows a token. always: everybody, programs of this machine too; behind a proxy, which makes all
    requests look like those, it has to be this. auto: other machines, and what says that a proxy sent it."""
    gateway: bool = True
    """Blocks and CAR files by their CIDs, for programs that speak IPFS (a trustless gateway)."""
    routing: bool = True
    """Programs that ask who provides a CID are told of this gateway (delegated routing). Teammates are
    never named."""
    blossom: bool = True
    """Blobs by their SHA-256, for Nostr clients with pictures: who may read and write the relay may do the
    same here, with the same keys."""
    pinning: bool = True
    """Programs with a token (`meshconsole edge token NAME`) have this node keep what they name: the pinning
    service of `ipfs pin remote`."""
    key_mb: Natural = 0
    """What one Nostr key may upload, and one token have pinned, in megabytes (10^6); 0 is no limit but that
    of the storage."""
    urls: tuple[str, ...] = ()
    """Other URLs of this edge, such as `https://files.example`: a client's permission may name them."""
    fetch_s: Annotated[int, Meta(ge=0, le=3600)] = 10
    """How long teammates and libp2p peers may take with what a program asks for and is not here; 0: they are
    not asked."""
    refused_cids: tuple[str, ...] = ()
    """CIDs that are not given out here, whatever the store holds."""


class P2pSection(Section, frozen=True):
    """Blocks exchanged with other IPFS programs (Kubo, Helia) by libp2p, over TCP, Noise and yamux."""

    enable: bool = False
    """On: nodes of the team that run other programs exchange blocks with this one. The team's files are
    sealed for them as well. Off: nothing of it is loaded."""
    listen: str = "0.0.0.0:7448"
    """HOST:PORT where they reach this node. Port 0 takes a free one."""
    peers: tuple[str, ...] = ()
    """Those nodes: `/ip4/HOST/tcp/PORT/p2p/PEER` is dialled, `/p2p/PEER` is let in. They are given what a
    teammate's device is given. The team's own devices are let in without being named."""
    public: bool = False
    """On: anybody may connect. Strangers are given blocks only where privacy.share_with_team_only is off."""
    max_peers: Annotated[int, Meta(ge=1, le=1000)] = 32
    """Connections by libp2p; strangers take half of them at most. limits.max_connections counts them too."""
    mdns: bool = False
    """On: everybody on the local network is told this node's peer id and address, as IPFS programs do, and
    nodes of the team that are found there are dialled."""
    dht: Literal["off", "lan", "public"] = "off"
    """A DHT (kad-dht) is asked where nodes in p2p.peers are that do not answer and, where p2p.public is on,
    who has what is waited for. This node only asks. lan: servers with private addresses; public: others."""
    dht_servers: tuple[str, ...] = ()
    """Servers where that begins: `/ip4/HOST/tcp/PORT/p2p/PEER`. There are none by default."""


class LimitsSection(Section, frozen=True):
    """What the owner opted in to. 0 means unlimited, except for storage."""

    max_connections: Positive = 64
    """Clients and links together."""
    max_storage_mb: Positive = 512
    """Events, blocks and audit log together, in megabytes (10^6)."""
    max_audit_mb: Positive = 16
    """The audit log, of the above; at most an eighth of it. A longer one lets its older half go."""
    max_bandwidth_mbps: Rate = 50.0
    """In each direction, all links and clients together, in megabits (10^6) per second."""
    max_link_mbps: Rate = 0.0
    """In each direction, each link and each client by itself; 0 is no limit but that of all together."""
    max_memory_mb: Natural = 0
    """Above it no more clients are let in; 0 is no limit but the one that the system sets (a service's
    MemoryHigh and MemoryMax, a container's limit), nine tenths of which hold in any case."""
    performance_mode: PerformanceChoice = "balanced"
    """saver: everything else on this machine goes first. balanced: a process of 10 MB checks signatures
    while many events come. full: one for each core but one, always. auto: saver while the processor is hot
    (from 80 °C) or the battery is low (from 20 %), full for a laptop on mains, else balanced."""
    max_connections_per_ip: Natural = 16
    """Clients from one IPv4 address, or one IPv6 /64. The team's links and this machine itself are exempt."""
    new_connections_per_minute: Natural = 120
    """From one address, of every kind; half of them may come at once."""
    max_handshakes: Annotated[int, Meta(ge=1, le=65_536)] = 512
    """Connections that have not finished their handshake. Of more, whoever has the most loses one."""
    max_strangers_percent: Annotated[int, Meta(ge=1, le=100)] = 50
    """Of the places for clients, what those may hold who have not logged in; only where they must."""
    handshake_timeout_s: Annotated[int, Meta(ge=1, le=300)] = 5
    """For a connection to say what it wants."""
    idle_timeout_s: Annotated[int, Meta(ge=0, le=86_400)] = 600
    """A client with no subscription that says nothing is let go; 0 is never."""
    ping_interval_s: Annotated[int, Meta(ge=0, le=86_400)] = 20
    """A client that is silent for so long is pinged; 0 is never."""
    ping_timeout_s: Annotated[int, Meta(ge=1, le=86_400)] = 60
    """A client that does not answer a ping is let go."""
    write_timeout_s: Annotated[int, Meta(ge=0, le=86_400)] = 60
    """A client that owes more than 128 KiB must take half of it in this time, or is let go; 0 is never."""


class PrivacySection(Section, frozen=True):
    """Who may read and write."""

    share_with_team_only: bool = True
    """Off: the relay serves strangers too. What is sealed for the team stays sealed."""
    allow_public_discovery: bool = False
    """On: strangers on the local network are told where the Nostr relay answers (DNS-SD, `_nostr._tcp`), as
    long as it serves and discovery.mdns is on. Off: what this node announces only teammates recognise."""
    emcon: EmconLevel = "open"
    """Emission control. quiet: this node answers and keeps its links, but does not show itself and dials
    nobody. receive-only: nothing leaves it; beacons and flash messages of others are heard. dark: nothing
    is heard either. Programs on this machine are served all the same."""
    require_authentication: bool = True
    """Clients prove their key (NIP-42) before they read or write."""


class NatSection(Section, frozen=True):
    """Servers that help links through NAT. Empty: host candidates only."""

    stun_servers: tuple[str, ...] = ()
    """`stun:HOST:PORT`; the first one that answers is used. They are asked every half minute."""
    turn_servers: tuple[str, ...] = ()
    """`turn:USER:PASSWORD@HOST:PORT?transport=udp` or `tcp`; the first one that answers is used."""
    relay_fallback: bool = True
    """Off: TURN servers are not used."""


class DiscoverySection(Section, frozen=True):
    """The rungs of the discovery ladder."""

    mdns: bool = True
    """Announce and listen on the local network; the announcement names nobody."""
    beacons: bool = True
    """Sealed datagrams to everybody on the local link, by multicast and broadcast; strangers learn nothing
    from them."""
    beacon_port: Annotated[int, Meta(ge=1, le=65_535)] = 7446
    """UDP; the same for all nodes of a team."""
    gossip: bool = True
    """Teammates tell each other where their teammates answer."""
    invite: bool = True
    """Addresses that invites name."""
    qr: bool = True
    """Invites as QR codes are the same invites."""
    cached_peers: bool = True
    """Addresses that worked before."""
    dht: bool = False
    """On, together with privacy.allow_public_discovery: teammates find each other through a DHT (p2p.dht,
    p2p.dht_servers). Its servers see addresses under names that are others every day, and no team."""


class MeshSection(Section, frozen=True):
    """How devices of the team stay in sync."""

    uplinks: tuple[str, ...] = ()
    """Plain Nostr relays (`wss://...` or `ws://...`) that carry the team's sealed notes, messages and file
    lists between devices which cannot link to each other. They see who writes when, and nothing else."""


class GuestsSection(Section, frozen=True):
    """Browsers that the owner lets in for a time: `meshconsole guest`."""

    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """Where this machine's browsers find the guests' page, on 127.0.0.1, while somebody is invited. 0 takes a
    free port; a fixed one is for tunnels, and for guests that come again after a restart."""
    hours: Annotated[float, Meta(ge=0.1, le=720)] = 8.0
    """How long a guest may stay, where nothing else is said."""


class CryptoSection(Section, frozen=True):
    """Which library computes ML-KEM and ML-DSA."""

    provider: Literal["auto", "openssl", "liboqs"] = "auto"
    """auto: liboqs where a sound one is installed, else OpenSSL."""


class ConsoleSection(Section, frozen=True):
    """How the console looks. Each console may override it with flags."""

    theme: str = "field-dark"
    """A file of themes/ in the home, or one that comes with meshconsole."""
    glyphs: Literal["auto", "unicode", "console", "ascii"] = "auto"
    """auto: what the terminal and its locale can show."""
    panic_confirmation: Literal["word", "confirm", "off"] = "word"
    """What the console asks for before it destroys this home: that a word is typed, a yes, or nothing."""
    lock_after_minutes: Annotated[int, Meta(ge=0, le=1440)] = 15
    """A console that nobody touches shows nothing more until the passphrase is given. 0: never."""
    frames_per_second: Annotated[float, Meta(ge=0.1, le=10)] = 4.0
    """The most; over SSH 1, on a serial line 0.5."""


class ControlSection(Section, frozen=True):
    """Other users of this machine who may attach, such as a hub's operators over SSH."""

    socket: str = ""
    """A second control socket for them, such as /run/meshconsole/control.sock; empty: none."""
    operators: str = ""
    """A Unix group. Its members send, invite, remove, pin, and change what takes effect at once."""
    watchers: str = ""
    """A Unix group. Its members look, and change nothing."""


class LogSection(Section, frozen=True):
    """The node's log."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    format: Literal["text", "json"] = "text"
    """json: an object on each line, with time, level, logger, message and, of an error, its traceback."""
    file: bool = False
    """On: into `node.log` in the home. Off: to the terminal or the journal, except of a node that the console
    started."""
    max_mb: Positive = 2
    """What `node.log` and the one before it take together, of limits.max_storage_mb; at most a 32nd of it."""


class MetricsSection(Section, frozen=True):
    """Figures for a monitor."""

    listen: str = ""
    """HOST:PORT on this machine where Prometheus may ask for /metrics, such as 127.0.0.1:9107; empty: off."""
