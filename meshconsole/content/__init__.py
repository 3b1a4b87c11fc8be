"""The embedded IPFS content store."""
