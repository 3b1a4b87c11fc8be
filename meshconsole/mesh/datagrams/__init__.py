"""Sealed datagrams: what is said to everybody near without a link."""
