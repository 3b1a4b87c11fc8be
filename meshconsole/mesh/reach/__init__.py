"""Whether a device can be reached, by which path, and if not, why not."""
