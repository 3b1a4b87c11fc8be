"""Invites: what one device shows another so that it may join, and the book of those that are out. Pure.

An invite is at most 200 characters of the QR alphanumeric set: "MC1-" and Base32 (RFC 4648, without
padding) of

    u8 version | 32 team id | 32 hash of the inviting device's key bundle | 16 secret
    | u32 expiry, seconds since the epoch | addresses to the end | 4 checksum (SHA-256, truncated)

with each address as u8 form (4, 6 or the length of a host name + 16) | host | u16 port. The bundle's
hash authenticates whoever answers; the secret admits whoever asks, and is proven, never sent.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import msgspec

from meshconsole.core.errors import Refused
from meshconsole.core.text import safe
from meshconsole.core.verdict import ACCEPTED, Verdict, refuse
from meshconsole.crypto.encoding import lp

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "MC1-"
VERSION = 1
SECRET_LEN = 16
MAX_TEXT = 200
CHECKSUM_LEN = 4
_FIXED_LEN = 1 + 32 + 32 + SECRET_LEN + 4
_MAX_BYTES = (MAX_TEXT - len(PREFIX)) * 5 // 8
_NAME_FORM = 16
_MAX_NAME = 63
MAX_OUT = 256
"""Invites in one book; the longest expired are forgotten first."""

AdmittedRole = Literal["admin", "member", "observer", "relay"]


class Invite(msgspec.Struct, frozen=True):
    """`expires` is in seconds since the epoch; `addresses` are "host:port" or "[IPv6]:port"."""

    team_id: bytes
    admin_bundle_hash: bytes
    secret: bytes
    expires: int
    addresses: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Invite(team_id={self.team_id.hex()[:8]}…, expires={self.expires})"


def fresh_secret() -> bytes:
    return os.urandom(SECRET_LEN)


def encode(invite: Invite) -> str:
    """The text. Addresses that would make it longer than 200 characters are left out, the last first.

    Raises Refused for an address that is none, and for an expiry that does not fit.
    """
    body = bytes([VERSION]) + invite.team_id + invite.admin_bundle_hash + invite.secret
    if not 0 <= invite.expires < 1 << 32:
        raise Refused("invalid", "An invite cannot be valid beyond the year 2105.")
    body += invite.expires.to_bytes(4, "big")
    for address in invite.addresses:
        packed = _pack_address(address)
        if len(body) + len(packed) + CHECKSUM_LEN <= _MAX_BYTES:
            body += packed
    return PREFIX + base64.b32encode(body + _checksum(body)).decode().rstrip("=")


def decode(text: str) -> Invite:
    """Accepts any case and white space inside. Raises Refused("invalid") saying what is wrong."""
    compact = "".join(text.split()).upper()
    if not compact.startswith(PREFIX):
        raise _malformed(f"it does not begin with {PREFIX}")
    if len(compact) > MAX_TEXT:
        raise _malformed("it is too long")
    data = _base32(compact[len(PREFIX) :])
    if data and data[0] > VERSION:
        raise Refused(
            "invalid",
            "The invite was made by a newer meshconsole.",
            hint="Update this device, then try again.",
        )
    body, checksum = data[:-CHECKSUM_LEN], data[-CHECKSUM_LEN:]
    if len(body) < _FIXED_LEN:
        raise _malformed("a part of it is missing")
    if body[0] != VERSION or not hmac.compare_digest(checksum, _checksum(body)):
        raise _malformed("its checksum is wrong; a character was lost or changed")
    return Invite(
        team_id=body[1:33],
        admin_bundle_hash=body[33:65],
        secret=body[65:81],
        expires=int.from_bytes(body[81:85], "big"),
        addresses=tuple(_unpack_addresses(body[_FIXED_LEN:])),
    )


def proof(secret: bytes, exporter: bytes, bundle_hash: bytes) -> bytes:
    """32 bytes that show knowledge of the secret, bound to this TLS session and to the joining device.

    HMAC-SHA-512 (RFC 2104), truncated to 256 bits, over the session's exporter (RFC 8446 §7.5).
    """
    return hmac.digest(secret, lp("mc/invite-proof/v1", exporter, bundle_hash), "sha512")[:32]


class Offer(msgspec.Struct):
    """One invite that is out, as its maker remembers it."""

    id: str
    secret: bytes
    expires: int
    role: AdmittedRole
    used_by: str = ""
    revoked: bool = False
    replaces: str = ""
    """The npub of the lost device that the new one stands in for."""
    person: str = ""
    """The npub of another device of the same person."""

    def __repr__(self) -> str:
        return f"Offer(id={self.id}, role={self.role}, expires={self.expires})"


class Redeemed(msgspec.Struct, frozen=True):
    """`role` is what the invite was for; empty when it was refused."""

    verdict: Verdict
    role: AdmittedRole | None = None
    replaces: str = ""
    person: str = ""


class InviteBook:
    """The invites that a device has made. Whoever changes it saves `dump()` before telling anybody."""

    def __init__(self, offers: Iterable[Offer] = ()) -> None:
        self._offers = list(offers)

    @classmethod
    def load(cls, data: bytes) -> InviteBook:
        return cls(msgspec.msgpack.decode(data, type=list[Offer]))

    def dump(self) -> bytes:
        return msgspec.msgpack.encode(self._offers)

    def offer(self, invite: Invite, role: AdmittedRole, replaces: str = "", person: str = "") -> str:
        """Remembers an invite. Returns its id, by which it can be revoked."""
        identifier = sha256(invite.secret).hexdigest()[:16]
        offer = Offer(identifier, invite.secret, invite.expires, role, replaces=replaces, person=person)
        self._offers.append(offer)
        self._offers.sort(key=lambda each: each.expires)
        del self._offers[:-MAX_OUT]
        return offer.id

    def open_invites(self, now: int) -> tuple[Offer, ...]:
        """Those that may still be used."""
        return tuple(o for o in self._offers if not o.used_by and not o.revoked and now < o.expires)

    def expects_anybody(self, now: int) -> bool:
        """Whether the door is open at all. A used invite holds it open until it expires, for its own
        device only: the answer to the first try may have been lost on the way."""
        return any(not offer.revoked and now < offer.expires for offer in self._offers)

    def revoke(self, offer_id: str) -> bool:
        """False if there is no such invite, or if it was used."""
        for offer in self._offers:
            if offer.id == offer_id and not offer.used_by:
                offer.revoked = True
                return True
        return False

    def redeem(self, given: bytes, exporter: bytes, bundle_hash: bytes, npub: str, now: int) -> Redeemed:
        """Judges a proof. A yes marks the invite as used by `npub`; the same device may come again."""
        found: Offer | None = None
        for offer in self._offers:  # all of them, always: time tells nothing
            if hmac.compare_digest(given, proof(offer.secret, exporter, bundle_hash)):
                found = offer
        if found is None:
            return Redeemed(refuse("restricted", "That device has made no such invite."))
        if found.revoked:
            return Redeemed(refuse("restricted", "This invite was revoked; ask for a new one."))
        if found.used_by and found.used_by != npub:
            return Redeemed(refuse("restricted", "This invite was used already; ask for a new one."))
        if now >= found.expires:
            return Redeemed(refuse("restricted", "This invite has expired; ask for a new one."))
        found.used_by = npub
        return Redeemed(ACCEPTED, found.role, found.replaces, found.person)


def _checksum(body: bytes) -> bytes:
    return sha256(b"mc/invite/v1" + body).digest()[:CHECKSUM_LEN]


def _base32(text: str) -> bytes:
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except binascii.Error:
        raise _malformed("it holds a character that no invite has, or a part of it is missing") from None
    if base64.b32encode(data).decode().rstrip("=") != text:
        raise _malformed("its last character is wrong")
    return data


def _pack_address(address: str) -> bytes:
    """Raises Refused for what is not "host:port"."""
    host, _, port_text = address.rpartition(":")
    if not (port_text.isascii() and port_text.isdecimal() and 0 < int(port_text[:6]) < 1 << 16):
        raise _no_address(address)
    port = int(port_text).to_bytes(2, "big")
    try:
        packed = ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).packed
    except ValueError:
        if not 0 < len(host) <= _MAX_NAME or not _is_host_name(host):
            raise _no_address(address) from None
        return bytes([_NAME_FORM + len(host)]) + host.encode() + port
    return bytes([4 if len(packed) == 4 else 6]) + packed + port


def _is_host_name(name: str) -> bool:
    return all(char.isascii() and (char.isalnum() or char in ".-") for char in name)


def _no_address(address: str) -> Refused:
    return Refused(
        "invalid",
        f"{safe(address, 80)!r} is not an address that an invite can hold.",
        hint='Write it as "host:port", "192.0.2.1:7447" or "[2001:db8::1]:7447".',
    )


def _unpack_addresses(data: bytes) -> list[str]:
    found: list[str] = []
    while data:
        form = data[0]
        length = {4: 4, 6: 16}.get(form, form - _NAME_FORM)
        if length <= 0 or len(data) < 1 + length + 2:
            raise _malformed("one of its addresses is broken")
        host, port = data[1 : 1 + length], int.from_bytes(data[1 + length : 3 + length], "big")
        found.append(f"{_host(form, host)}:{port}")
        data = data[3 + length :]
    return found


def _host(form: int, host: bytes) -> str:
    if form == 4:
        return str(ipaddress.IPv4Address(host))
    if form == 6:
        return f"[{ipaddress.IPv6Address(host)}]"
    name = host.decode("ascii", "replace")
    if not _is_host_name(name):
        raise _malformed("one of its addresses is broken")
    return name


def _malformed(why: str) -> Refused:
    return Refused("invalid", f"That is not an invite: {why}.", hint="Copy or scan the whole text again.")
