"""The formats of IPFS: names, blocks, trees of them, and files that carry them. Pure."""
