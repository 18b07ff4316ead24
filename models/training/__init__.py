"""A plain trainer in torch, and what it trains: the bundles that ship with the monitor."""
