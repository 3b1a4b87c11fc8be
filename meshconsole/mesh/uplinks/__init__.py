"""Plain Nostr relays that carry a team's sealed events between devices that cannot link to each other."""
