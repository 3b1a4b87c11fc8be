"""The contract between a node and its consoles: messages, server, client."""
