"""Blocks between peers: who is asked for what, who is given what, and what is passed on."""
