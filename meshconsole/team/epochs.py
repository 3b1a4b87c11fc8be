"""Epochs: the team's shared secrets, one after another, and how a device is given one. Pure.

An epoch's secret is 32 random bytes. Every key in use is derived from it for one purpose (HKDF-Expand,
RFC 5869). The roster commits to the secret, so a grant needs no post-quantum signature of its own: a
secret that does not match the commitment is not the epoch's, whoever sent it. The secret of an epoch
opens the one before it through a sealed link in the roster, where the team's policy keeps history.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from meshconsole.core.errors import Refused, RemoteError
from meshconsole.core.kinds import EPOCH_GRANT
from meshconsole.crypto.encoding import b64, expand, lp, unb64
from meshconsole.crypto.sealing import seal, unseal

if TYPE_CHECKING:
    from meshconsole.core.event import Event
    from meshconsole.crypto.bundle import KeyBundle
    from meshconsole.crypto.identity import Identity
    from meshconsole.crypto.provider import Provider
    from meshconsole.crypto.suites import Suite

SECRET_LEN = 32
_ADDRESS_LEN = 32


@dataclass(frozen=True, slots=True)
class EpochKey:
    """The secret of epoch `n` of the team with the 32-byte id `team`."""

    team: bytes
    n: int
    secret: bytes = field(repr=False)

    @classmethod
    def fresh(cls, team: bytes, n: int) -> EpochKey:
        return cls(team, n, os.urandom(SECRET_LEN))

    def derive(self, purpose: str) -> bytes:
        """32 bytes. Purposes: "cek", "event", "direct", "tag", "prev", "datagram"."""
        return expand(self.secret, lp("mc/epoch/v1", self.team, self.n, purpose))

    @property
    def commit(self) -> str:
        """What the roster says of it: 64 hex characters. Without the team's id, which is the hash of
        a genesis that holds the first commitment."""
        return expand(self.secret, lp("mc/epoch-commit/v1", self.n)).hex()

    @property
    def kid(self) -> str:
        """The key id: the first 16 hex characters of the commitment."""
        return self.commit[:16]

    @property
    def routing_tag(self) -> str:
        """32 hex characters on the outside of what is sealed; it changes with the epoch."""
        return self.blinded(b"route")[:32]

    def blinded(self, what: bytes) -> str:
        """64 hex characters that only holders of the epoch can make or recognise."""
        return hmac.digest(self.derive("tag"), what, "sha256").hex()

    def seal_link(self, previous: EpochKey) -> str:
        """The secret of an earlier epoch for holders of this one, in Base64."""
        return b64(seal(self.derive("prev"), self._link_context(previous.kid), previous.secret))

    def open_link(self, sealed: str, n: int, commit: str) -> EpochKey:
        """The earlier epoch `n` that the roster commits to by `commit`. Raises Refused."""
        try:
            secret = unseal(self.derive("prev"), self._link_context(commit[:16]), unb64(sealed))
        except RemoteError:
            raise Refused("invalid", "A link to an earlier epoch does not open.") from None
        return checked(EpochKey(self.team, n, secret), commit)

    def _link_context(self, kid: str) -> bytes:
        return lp("mc/prev/v1", self.team, self.n, kid)


def checked(key: EpochKey, commit: str) -> EpochKey:
    """`key`, if it is the one that the roster commits to. Raises Refused."""
    if len(key.secret) != SECRET_LEN or not hmac.compare_digest(key.commit, commit):
        raise Refused("invalid", "A key grant holds another key than the roster commits to.")
    return key


def grant_event(
    author: Identity, epoch: EpochKey, bundle: KeyBundle, created_at: int, provider: Provider
) -> Event:
    """An epoch's secret wrapped for one device (HPKE, RFC 9180), addressable, found by `grant_address`."""
    info = _grant_info(epoch.team, epoch.n, epoch.commit, bundle.npub, bundle.hash)
    wrapped = provider.hpke_seal(author.suite, bundle.kem_public, info, epoch.secret)
    tags = (("d", grant_address(epoch.team, epoch.kid, bundle.npub)),)
    return author.sign(EPOCH_GRANT, tags, b64(wrapped), created_at)


def grant_address(team: bytes, kid: str, npub: str) -> str:
    """The `d` tag of a device's grant. It names neither team nor device to those who know neither."""
    return sha256(lp("mc/grant-address/v1", team, kid, bytes.fromhex(npub))).hexdigest()[:_ADDRESS_LEN]


def check_grant(event: Event, suite: Suite) -> None:
    """Raises Refused unless the event has the shape of a grant; whose it is, only its device can tell."""
    length = len(b64(bytes(suite.wrap_overhead + SECRET_LEN)))
    tag = event.tags[0] if len(event.tags) == 1 else ()
    if len(tag) != 2 or tag[0] != "d" or len(tag[1]) != _ADDRESS_LEN or len(event.content) != length:
        raise Refused("invalid", "That is not a key grant.")


def open_grant(me: Identity, event: Event, team: bytes, n: int, commit: str) -> EpochKey:
    """Raises Refused unless the grant is this device's and holds the committed secret."""
    info = _grant_info(team, n, commit, me.npub, me.bundle_hash)
    try:
        secret = me.open_wrapped(info, unb64(event.content))
    except RemoteError:
        raise Refused("invalid", "A key grant does not open with this device's key.") from None
    return checked(EpochKey(team, n, secret), commit)


def _grant_info(team: bytes, n: int, commit: str, npub: str, bundle_hash: bytes) -> bytes:
    return lp("mc/grant/v1", team, n, bytes.fromhex(commit), bytes.fromhex(npub), bundle_hash)
