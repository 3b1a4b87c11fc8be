"""The rules of home routers, as nftables has them. Pure text.

The axes are those of RFC 4787. "wan0" is the outside, "lan0" the inside. Endpoint-independent mapping
needs a map of our own: the kernel's `snat` and `persistent` do not keep a port for other destinations.
"""

from __future__ import annotations

import ipaddress
from typing import Literal

Nat = Literal["none", "full-cone", "restricted", "symmetric", "udp-blocked"]
"""restricted: endpoint-independent mapping, address-and-port-dependent filtering, as most home routers."""

_FILTER = """
table ip filter {
  chain forward {
    type filter hook forward priority 0;
    iifname "wan0" ct state established,related accept
    iifname "wan0" drop
  }
}
"""

_NO_UDP = """
table ip no_udp {
  chain forward {
    type filter hook forward priority -5;
    meta l4proto udp udp dport != 53 drop
  }
}
"""

_SYMMETRIC = """
table ip nat {
  chain prerouting { type nat hook prerouting priority dstnat; }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan0" masquerade random,fully-random
  }
}
"""


def rules(nat: Nat, wan_address: str, lan: str, *, hairpin: bool = False) -> str:
    """A whole ruleset. `lan` is ADDRESS/PREFIX of the inside."""
    match nat:
        case "none":
            body = ""
        case "full-cone":
            body = _cone(wan_address, lan, hairpin=hairpin)
        case "restricted":
            body = _cone(wan_address, lan, hairpin=hairpin) + _FILTER
        case "symmetric":
            body = _SYMMETRIC + _FILTER
        case "udp-blocked":
            body = _SYMMETRIC + _FILTER + _NO_UDP
    return "flush ruleset\n" + body


def _cone(wan_address: str, lan: str, *, hairpin: bool) -> str:
    network = ipaddress.ip_interface(lan).network
    back_in = back_out = ""
    if hairpin:
        back_in = f'iifname "lan0" ip daddr {wan_address} meta l4proto udp dnat to udp dport map @inside'
        back_out = f'oifname "lan0" ip saddr {network} ct status dnat snat to {wan_address}'
    return f"""
table ip nat {{
  map inside {{
    type inet_service : ipv4_addr . inet_service
    flags dynamic,timeout
    timeout 300s
    size 65536
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    {back_in}
    iifname "wan0" meta l4proto udp dnat to udp dport map @inside
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    {back_out}
    oifname "wan0" meta l4proto udp update @inside {{ udp sport timeout 300s : ip saddr . udp sport }}
    oifname "wan0" snat to {wan_address}
  }}
}}
"""
