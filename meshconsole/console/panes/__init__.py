"""The panes: each turns what the node told into rows or lines."""
