from __future__ import annotations

from ipaddress import ip_address

import pytest

from meshconsole.core.address_space import is_private, is_public


@pytest.mark.parametrize("text", ["9.9.9.9", "2620:fe::fe", "2a00:1450::1"])
def test_public(text: str) -> None:
    assert is_public(ip_address(text))
    assert not is_private(ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1", "::1", "fd00::1", "fe80::1"],
)
def test_private(text: str) -> None:
    assert is_private(ip_address(text))
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "240.0.0.1",
        "224.0.0.251",
        "::",
        "ff02::fb",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "::ffff:9.9.9.9",
        "::7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::1",
        "2001:0:7f00:1::1",
    ],
)
def test_of_no_network(text: str) -> None:
    """Of nobody or of many, or an IPv4 address inside that could be any."""
    assert not is_public(ip_address(text))
    assert not is_private(ip_address(text))
