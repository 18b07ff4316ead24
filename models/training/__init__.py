"""Runs of training by a configuration (`python -m models train`), and the two bundles that are no pain models."""
