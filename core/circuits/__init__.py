"""Circuits: models whose servers are unavailable, for which nothing is dispatched."""
