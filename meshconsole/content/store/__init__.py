"""Blocks on the disk: where they are, what is kept, and what makes room."""
