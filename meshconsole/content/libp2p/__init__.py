"""libp2p, as far as other IPFS programs need it to exchange blocks. Loaded where it is switched on."""
