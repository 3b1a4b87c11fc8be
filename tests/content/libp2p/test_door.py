from __future__ import annotations

from meshconsole.content.libp2p.door import MAX_HANDSHAKES, MAX_HOSTS, MAX_OF_ONE_HOST, Door


def test_one_host_takes_only_its_part() -> None:
    door = Door(0)
    entered = sum(not door.enter("192.0.2.1", 0.0) for _ in range(10_000))
    assert entered == MAX_OF_ONE_HOST
    assert not door.enter("192.0.2.2", 0.0)
    door.leave("192.0.2.1")
    assert not door.enter("192.0.2.1", 0.0)


def test_all_together_are_bounded() -> None:
    door = Door(0)
    entered = sum(not door.enter(f"192.0.2.{number}", 0.0) for number in range(250))
    assert entered == MAX_HANDSHAKES
    assert "too many handshakes" in door.enter("203.0.113.1", 0.0)


def test_a_host_is_slowed_down() -> None:
    door = Door(60)
    for _ in range(30):
        assert not door.enter("192.0.2.1", 0.0)
        door.leave("192.0.2.1")
    assert "too many connections" in door.enter("192.0.2.1", 0.0)
    assert not door.enter("192.0.2.1", 2.0)


def test_a_network_of_ipv6_is_one_host() -> None:
    door = Door(0)
    entered = sum(not door.enter(f"2001:db8::{number:x}", 0.0) for number in range(1, 100))
    assert entered == MAX_OF_ONE_HOST


def test_hosts_are_forgotten() -> None:
    door = Door(60)
    for number in range(2 * MAX_HOSTS):
        host = f"10.0.{number >> 8}.{number & 255}"
        assert not door.enter(host, 0.0)
        door.leave(host)
    assert len(door._buckets) == MAX_HOSTS
    assert not door._under_way
