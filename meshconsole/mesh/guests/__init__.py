"""Guests: browsers that the owner lets in, over a data channel. Loaded by the first link to one."""
