"""Keys, hybrid signatures, HPKE wraps, sealed boxes, TLS for links, keystore, encrypted database."""
