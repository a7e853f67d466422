"""Floors: the least that this machine needs for a thing of the kind a path does, measured beside it."""
