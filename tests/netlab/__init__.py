"""A network lab: hosts on a switch of our own that loses, delays, damages and cuts what it carries.

Each host is a network namespace. Its network card is a TAP device whose other end this process holds, so
that every frame between hosts passes through `switch.py`: loss, delay, partitions, one-way cuts, filtered
multicast and NAT need no kernel module but TUN. Whole nodes run in the hosts (`team.py`), and the tests
beside this file are the faults that a mesh must survive; `table.py` writes what they measured.

    impairment  what one direction of one port does to a frame, and presets. Pure
    switch      carries frames between ports, counts them, cuts pairs of hosts off
    nat         the rules of home routers, as nftables has them
    lab         hosts, routers and processes in them
    team        nodes of one team in the hosts
    figures     what was measured; table: docs/faults.md from it
"""
