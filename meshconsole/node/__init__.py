"""The node: composition root, supervisor, governor, audit."""
