"""The owner's limits, held against real use."""
