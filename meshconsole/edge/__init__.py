"""The HTTP edge: what programs of this machine may do with the content store, each by its own standard."""
