"""The embedded Nostr relay: protocol machines, policies, event store, live index and server."""
