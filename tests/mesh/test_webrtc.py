"""Data channels: the contract with aiortc's inner parts, and real pairs on this machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from meshconsole.core.errors import Fatal, LocalError, RemoteError
from meshconsole.mesh.links import aiortc_made_fit, webrtc
from meshconsole.mesh.links.aiortc_made_fit import CWND_BYTES, PARTIAL_BYTES, load_aiortc, use_loopback
from meshconsole.mesh.links.courtesy import COURTESY
from meshconsole.mesh.links.frames import PIPE_MESSAGE
from meshconsole.mesh.links.pipe import PipeClosed
from meshconsole.mesh.links.webrtc import DataChannelAnswer, DataChannelOffer, DataChannelPipe
from tests.mesh.nodes import SmallRoster, TestNode

if TYPE_CHECKING:
    from pathlib import Path


async def connected() -> tuple[DataChannelPipe, DataChannelPipe]:
    async with asyncio.timeout(15):
        offer = await DataChannelOffer.make("b", loopback=True)
        answer = await DataChannelAnswer.make(offer.text, "a", loopback=True)
        a, b = await asyncio.gather(offer.connect(answer.text), answer.connect())
    return a, b


def is_relayed(*pipes: DataChannelPipe) -> list[bool]:
    return [pipe.relayed for pipe in pipes]


async def close(*pipes: DataChannelPipe) -> None:
    for pipe in pipes:
        await pipe.close("The test is over.")


class TestContract:
    """What the adapter changes inside aiortc 1.16 and aioice 0.13 is there, and is changed."""

    def test_the_constants(self) -> None:
        load_aiortc()
        import aioice.ice
        import aiortc.rtcsctptransport as sctp

        assert (aioice.ice.CONSENT_INTERVAL, aioice.ice.CONSENT_FAILURES) == (1, 3)
        assert (sctp.SCTP_RTO_INITIAL, sctp.SCTP_RTO_MIN) == (1.0, 0.2)

    async def test_a_consent_check_has_more_than_one_try(self, monkeypatch: pytest.MonkeyPatch) -> None:
        load_aiortc()
        import aioice.ice
        import aioice.stun

        tries: list[object] = []

        class Recorded:
            def __init__(self, *_arguments: object, retransmissions: object, **_named: object) -> None:
                tries.append(retransmissions)

            async def run(self) -> None:
                return

        monkeypatch.setattr(aioice.stun, "Transaction", Recorded)
        protocol = aioice.ice.StunProtocol(aioice.ice.Connection(ice_controlling=True))
        message = aioice.stun.Message(aioice.stun.Method.BINDING, aioice.stun.Class.REQUEST)
        await protocol.request(message, ("192.0.2.1", 1), retransmissions=0)
        await protocol.request(message, ("192.0.2.1", 1))
        assert tries == [aiortc_made_fit.CONSENT_TRIES - 1, None]

    async def test_candidates_are_gathered_for_so_long_at_most(self, monkeypatch: pytest.MonkeyPatch) -> None:
        load_aiortc()
        import aioice.ice

        async def never(*_arguments: object, **_named: object) -> None:
            await asyncio.Event().wait()

        monkeypatch.setattr(aiortc_made_fit, "GATHER_S", 0.05)
        monkeypatch.setattr(aioice.ice, "server_reflexive_candidate", never)
        connection = aioice.ice.Connection(ice_controlling=True, stun_server=("192.0.2.1", 3478))
        found = await connection.get_component_candidates(1, ["127.0.0.1"])
        assert [candidate.type for candidate in found] == ["host"]
        await connection.close()

    def test_the_transport_that_connections_use(self) -> None:
        load_aiortc()
        import aiortc.rtcpeerconnection
        import aiortc.rtcsctptransport

        used = vars(aiortc.rtcpeerconnection)["RTCSctpTransport"]
        assert used is not aiortc.rtcsctptransport.RTCSctpTransport
        assert issubclass(used, aiortc.rtcsctptransport.RTCSctpTransport)
        assert used.__name__ == "GuardedSctp"

    async def test_connections_share_one_certificate_and_one_context(self) -> None:
        load_aiortc()
        from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCCertificate, RTCDtlsTransport
        from OpenSSL import SSL

        one, other = RTCCertificate.generateCertificate(), RTCCertificate.generateCertificate()
        assert one is other
        context = one._create_ssl_context(srtp_profiles=SRTP_PROFILES)
        assert context is other._create_ssl_context(srtp_profiles=SRTP_PROFILES)
        assert context.get_session_cache_mode() == SSL.SESS_CACHE_OFF
        assert RTCDtlsTransport._setup_srtp is aiortc_made_fit._no_media
        aiortc_made_fit.network_changed()
        elsewhere = RTCCertificate.generateCertificate()
        assert elsewhere is RTCCertificate.generateCertificate()
        assert elsewhere.getFingerprints() != one.getFingerprints(), "whoever listens here knows nobody again"

    def test_pyav_is_a_stub_that_cannot_be_used(self) -> None:
        load_aiortc()
        av = sys.modules["av"]
        assert getattr(av, "__file__", None) is None
        with pytest.raises(LocalError, match="Media is not part"):
            av.AudioResampler()

    def test_loopback_is_an_address_when_asked_for_or_when_there_is_no_other(self) -> None:
        few = ModuleType("few")
        few.get_host_addresses = lambda use_ipv4, use_ipv6: []  # type: ignore[attr-defined]
        many = ModuleType("many")
        many.get_host_addresses = lambda use_ipv4, use_ipv6: ["10.0.0.1"]  # type: ignore[attr-defined]
        assert aiortc_made_fit._with_loopback(few)(True, True) == ["127.0.0.1"]
        assert aiortc_made_fit._with_loopback(few)(False, True) == []
        assert aiortc_made_fit._with_loopback(many)(True, True) == ["10.0.0.1"]
        token = use_loopback.set(True)
        assert aiortc_made_fit._with_loopback(many)(True, True) == ["10.0.0.1", "127.0.0.1"]
        use_loopback.reset(token)

    def test_a_part_that_is_gone_is_a_clear_error(self) -> None:
        with pytest.raises(Fatal, match=r"no aioice\.ice\.CONSENT_INTERVAL") as caught:
            aiortc_made_fit._set(ModuleType("aioice.ice"), "CONSENT_INTERVAL", 1)
        assert "aiortc 1.16" in caught.value.hint
        with pytest.raises(Fatal, match="_handle_data"):
            aiortc_made_fit._guarded_sctp(SimpleNamespace(RTCSctpTransport=object))  # type: ignore[arg-type]

    def test_the_mesh_does_not_import_it_before_it_is_needed(self) -> None:
        code = (
            "import sys, meshconsole.mesh.service\n"
            "heavy = {'aiortc', 'aioice', 'av', 'zeroconf', 'dns', 'pylibsrtp'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.slow
class TestPairs:
    async def test_messages_go_both_ways_in_order(self) -> None:
        a, b = await connected()
        sent = [os.urandom(size) for size in (1, 100, PIPE_MESSAGE, 1, PIPE_MESSAGE)]
        for message in sent:
            await a.send(message)
            await b.send(message)
        assert [await b.receive() for _ in sent] == sent
        assert [await a.receive() for _ in sent] == sent
        assert (a.path, a.channel, a.address) == ("webrtc", "nostr-events", "b")
        assert is_relayed(a) == [False]
        assert a._connection.sctp is not None
        a._connection.sctp.transport.transport._connection._nominated[1].local_candidate.type = "relay"
        assert is_relayed(a, b) == [True, False]
        await close(a, b)

    async def test_a_sender_waits_for_a_reader_that_does_not_read(self) -> None:
        a, b = await connected()
        count = 3 * webrtc.CREDIT_BYTES // PIPE_MESSAGE

        async def produce() -> None:
            for _ in range(count):
                await a.send(bytes(PIPE_MESSAGE))

        producer = asyncio.create_task(produce())
        done, _ = await asyncio.wait([producer], timeout=1.0)
        assert not done
        assert b._held <= webrtc.CREDIT_BYTES + PIPE_MESSAGE
        for _ in range(count):
            await b.receive()
        await producer
        assert a._connection.sctp._cwnd <= CWND_BYTES  # type: ignore[union-attr]
        await close(a, b)

    async def test_the_end_is_noticed_by_the_other_side(self) -> None:
        a, b = await connected()
        await a.close("done")
        with pytest.raises(PipeClosed):
            async with asyncio.timeout(10):
                await b.receive()
        with pytest.raises(PipeClosed):
            await a.send(b"late")
        with pytest.raises(PipeClosed):
            await a.receive()
        await close(a, b)

    @pytest.mark.parametrize("message", ["text", b"", b"\x07what", b"\x01short", bytes(PIPE_MESSAGE + 2)])
    async def test_a_message_that_is_none_of_ours_ends_the_pipe_and_raises_nowhere(
        self, message: bytes | str
    ) -> None:
        a, b = await connected()
        a._channel.send(message)
        with pytest.raises(PipeClosed, match="none of ours"):
            async with asyncio.timeout(10):
                await b.receive()
        await close(a, b)

    async def test_a_peer_that_ignores_its_credit_is_cut_off(self) -> None:
        a, b = await connected()
        for _ in range(2 * webrtc.CREDIT_BYTES // PIPE_MESSAGE):
            a._channel.send(b"\x00" + bytes(PIPE_MESSAGE))
        async with asyncio.timeout(20):
            while not b._ended:  # noqa: ASYNC110 - nobody reads, so nothing else happens
                await asyncio.sleep(0.01)
        assert b._ended == "The peer sent more than it had credit for."
        await close(a, b)

    async def test_a_message_without_end_does_not_fill_the_memory(self) -> None:
        a, b = await connected()
        sctp: Any = a._connection.sctp
        sctp._remote_max_message_size = 0
        a._channel.send(bytes(3_000_000))
        with pytest.raises(PipeClosed):
            async with asyncio.timeout(20):
                await b.receive()
        held: Any = b._connection.sctp
        assert 1024 * 1024 - held._advertised_rwnd < PARTIAL_BYTES + PIPE_MESSAGE
        await close(a, b)

    async def test_a_channel_holds_back_while_others_wait_and_loses_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a, b = await connected()
        slept: list[float] = []
        sleep = asyncio.sleep

        async def slowly(seconds: float) -> None:
            slept.append(seconds)
            await sleep(0)

        monkeypatch.setattr(aiortc_made_fit, "asyncio", SimpleNamespace(sleep=slowly))
        sent = [bytes([number]) * PIPE_MESSAGE for number in range(64)]
        for needed in (False, True):
            monkeypatch.setattr(COURTESY, "is_needed", lambda needed=needed: needed)
            sending = asyncio.gather(*(a.send(message) for message in sent))
            assert [await b.receive() for _ in sent] == sent
            await sending
            assert bool(slept) == needed
        slept.clear()
        monkeypatch.setattr(aiortc_made_fit, "WAITING_PACKETS", 0)
        await a.send(b"more")
        assert await b.receive() == b"more"
        assert not slept, "not while too much waits"
        await close(a, b)

    async def test_nobody_outside_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        load_aiortc()
        import aiortc.rtcicetransport

        def forbidden(_cls: object) -> None:
            raise AssertionError("the default STUN server was asked for")

        monkeypatch.setattr(
            aiortc.rtcicetransport.RTCIceGatherer, "getDefaultIceServers", classmethod(forbidden)
        )
        await close(*await connected())

    @pytest.mark.parametrize("bad", ["", "v=0", "m=application 1 UDP/DTLS/SCTP webrtc-datachannel\r\n"])
    async def test_a_bad_description_is_a_remote_error(self, bad: str) -> None:
        with pytest.raises(RemoteError):
            await DataChannelAnswer.make(bad, "a")
        offer = await DataChannelOffer.make("b", loopback=True)
        with pytest.raises(RemoteError):
            await offer.connect(bad)
        await offer.close()


@pytest.mark.slow
class TestMesh:
    """Both links of a pair, and life without either of them."""

    async def test_a_data_channel_comes_up_beside_the_websocket(self, tmp_path: Path) -> None:
        roster = SmallRoster.of("alice", "bob")
        alice = TestNode("alice", roster, tmp_path, webrtc=True)
        async with alice, TestNode("bob", roster, tmp_path, webrtc=True) as bob:
            alice.dial(bob)
            for one, other in ((alice, bob), (bob, alice)):
                await one.until_linked(other, "websocket")
                await one.until_linked(other, "webrtc")
            (status,) = alice.mesh.status()
            assert {link.channel for link in status.links} == {"", "nostr-events"}
            assert {link.group for link in status.links} == {"X25519MLKEM768"}
            lower = min((alice, bob), key=lambda node: node.npub)
            assert lower.ups("webrtc")[0].dialled

    async def test_events_flow_on_when_either_link_is_lost_and_both_come_back(self, tmp_path: Path) -> None:
        roster = SmallRoster.of("alice", "bob")
        alice = TestNode("alice", roster, tmp_path, webrtc=True)
        async with alice, TestNode("bob", roster, tmp_path, webrtc=True) as bob:
            alice.dial(bob)
            for one, other in ((alice, bob), (bob, alice)):
                await one.until_linked(other, "websocket")
                await one.until_linked(other, "webrtc")
            sent = []
            for path in ("websocket", "webrtc"):
                ups = len(alice.ups(path))
                session = alice.mesh._links.sessions[bob.npub]
                lost = next(link for link in session.links if link.pipe.path == path)
                for number in range(40):
                    sent.append(await alice.publish(f"{path} {number}"))
                    sent.append(await bob.publish(f"{path} {number}"))
                    if number == 20:
                        # As when a cable is cut: no goodbye, neither side is asked.
                        await lost.pipe.close("")
                await alice.until_has(*sent)
                await bob.until_has(*sent)
                await alice.until(lambda path=path, ups=ups: len(alice.ups(path)) > ups)  # type: ignore[misc]
                await bob.until_linked(alice, path)
            assert alice.store.count() == bob.store.count() == len(sent)
            assert alice.mesh._links.sessions[bob.npub] is session, "the session outlived both losses"

    async def test_a_peer_without_the_capability_is_left_in_peace(self, tmp_path: Path) -> None:
        roster = SmallRoster.of("alice", "bob")
        alice = TestNode("alice", roster, tmp_path, webrtc=True)
        async with alice, TestNode("bob", roster, tmp_path) as bob:
            alice.dial(bob)
            await alice.until_linked(bob)
            session = alice.mesh._links.sessions[bob.npub]
            assert not alice.mesh._channels._should_offer(session)
            other = bob.mesh._links.sessions[alice.npub]
            assert not bob.mesh._channels._should_offer(other)
