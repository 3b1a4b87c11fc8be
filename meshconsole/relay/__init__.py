"""The embedded Nostr relay."""
