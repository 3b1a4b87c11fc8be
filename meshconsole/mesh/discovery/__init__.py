"""The rungs of the discovery ladder."""
