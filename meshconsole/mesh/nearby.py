"""Who is near: datagrams to and from everybody on the local link, and what they tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshconsole.core.errors import MeshconsoleError
from meshconsole.mesh.addresses import answers_on_the_link
from meshconsole.mesh.datagrams.messages import (
    Beacon,
    FlashNote,
    FlashPart,
    Got,
    PartsHeld,
    ShortNote,
    decode_datagram,
    read_plain_beacon,
)
from meshconsole.mesh.datagrams.port import DatagramPort
from meshconsole.mesh.datagrams.sealing import Sealer
from meshconsole.mesh.discovery.beacons import SEEK_FOR_S, BeaconRung
from meshconsole.mesh.endpoints import with_port
from meshconsole.mesh.hearing import Hearing
from meshconsole.mesh.messages import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from meshconsole.core.config import Config
    from meshconsole.mesh.emcon import Emcon
    from meshconsole.mesh.ladder import Ladder
    from meshconsole.mesh.linking import Self
    from meshconsole.mesh.network import NetworkWatch
    from meshconsole.mesh.nursery import Nursery
    from meshconsole.mesh.roster import Membership


class Nearby:
    """`is_linked(npub)` says who needs no finding; `changed` is called when somebody was found."""

    def __init__(
        self,
        me: Self,
        config: Config,
        membership: Membership,
        ladder: Ladder,
        network: NetworkWatch,
        emcon: Emcon,
        *,
        is_linked: Callable[[str], bool],
        changed: Callable[[], None],
        now: Callable[[], float],
        random: Random,
    ) -> None:
        self._config = config
        self._membership = membership
        self._ladder = ladder
        self._network = network
        self._emcon = emcon
        self._is_linked = is_linked
        self._changed = changed
        self._now = now
        self._me = me
        self._own_port = 0
        self._linked_at: dict[str, float] = {}
        """When each teammate was last seen to be linked."""
        self.on_flash: Callable[[FlashNote, str], None] = lambda _note, _address: None
        self.on_short: Callable[[ShortNote, str], None] = lambda _short, _address: None
        self.on_part: Callable[[FlashPart, str], None] = lambda _part, _address: None
        self.on_held: Callable[[PartsHeld], None] = lambda _held: None
        self.on_got: Callable[[Got], None] = lambda _got: None
        self.on_receipt: Callable[[Receipt], None] = lambda _receipt: None
        self.hearing = Hearing()
        self.sealer = Sealer()
        self.port = DatagramPort(self._received, may_send=lambda: emcon.may_send, now=now)
        self._beacons = BeaconRung(
            me.npub,
            me.boot,
            self.port,
            self.sealer,
            self.hearing,
            emcon,
            listen=me.listen,
            on_the_link=answers_on_the_link(config.node.listen),
            found=self._found,
            is_linked=is_linked,
            all_linked=self._all_linked,
            lost_lately=self._lost_lately,
            now=now,
            random=random,
        )

    def start(self, nursery: Nursery, own_port: int) -> None:
        """`own_port` is where this node's server answers; datagrams come from the same number."""
        self._own_port = own_port
        if self._config.discovery.beacons:
            self.refresh()
            nursery.keep("beacons", self._beacons.run)

    def stop(self) -> None:
        self.port.close()

    def refresh(self) -> None:
        """The network, the team's key or what may be sent has changed."""
        if not self._config.discovery.beacons or not self._own_port:
            return
        self.port.interfaces = self._network.current.interfaces
        team = self._membership.team
        try:
            self.sealer.keys = team.datagram_keys() if team is not None else ()
        except MeshconsoleError:
            self.sealer.keys = ()
        should_be_open = team is not None and self._emcon.may_hear
        if should_be_open and not self.port.is_open:
            host = self._config.node.listen.rpartition(":")[0].strip("[]")
            self.port.open(host, self._own_port, self._config.discovery.beacon_port)
        elif not should_be_open and self.port.is_open:
            self.port.close()
        self._beacons.refresh()

    @property
    def may_seal(self) -> bool:
        """Whether datagrams can be sent to the team at all."""
        return bool(self.sealer.keys) and self.port.is_open and self._emcon.may_send

    def network_changed(self) -> None:
        self.hearing.forget_paths()
        self.refresh()

    def line(self) -> str:
        """What the rung of beacons does, or why it does not."""
        if not self._config.discovery.beacons:
            return "beacons: switched off"
        if self._membership.team is None:
            return "beacons: waits until this node has a team"
        return f"beacons: {self._beacons.line}"

    def _others(self) -> list[str]:
        team = self._membership.team
        devices = team.members() if team is not None else ()
        return [d.npub for d in devices if not d.removed and d.npub != self._me.npub]

    def _all_linked(self) -> bool:
        return all(self._is_linked(npub) for npub in self._others())

    def _lost_lately(self) -> bool:
        """Whether somebody was linked a short while ago and is not now."""
        now = self._now()
        others = self._others()
        self._linked_at.update((npub, now) for npub in others if self._is_linked(npub))
        lost = (npub for npub in others if not self._is_linked(npub))
        return any(now - self._linked_at.get(npub, -SEEK_FOR_S) < SEEK_FOR_S for npub in lost)

    def _received(self, datagram: bytes, address: str) -> None:
        payload = self.sealer.open(datagram)
        if payload is None:
            self._received_plain(datagram, address)
            return
        match decode_datagram(payload):
            case Beacon() as beacon:
                self._beacons.received(beacon, address)
            case FlashNote() as note:
                self.on_flash(note, address)
            case ShortNote() as short:
                self.on_short(short, address)
            case FlashPart() as part:
                self.on_part(part, address)
            case PartsHeld() as held:
                self.on_held(held)
            case Got() as got:
                self.on_got(got)
            case Receipt() as receipt:
                self.on_receipt(receipt)

    def _received_plain(self, datagram: bytes, address: str) -> None:
        plain = read_plain_beacon(datagram)
        if plain is None or "%" in address:
            return
        instance_id, port = plain
        where = with_port(address, port)
        self._ladder.offer(where, "beacon", self._now(), group=instance_id.hex(), is_proven=False)
        self._changed()

    def _found(self, npub: str, addresses: list[str]) -> None:
        device = self._membership.team.member(npub) if self._membership.team is not None else None
        if device is None or device.removed:
            return
        for address in addresses:
            self._ladder.offer(address, "beacon", self._now(), npub=npub)
        self._changed()
