"""Floors: minimal programs that do the same kind of work as a path, measured next to it on the same machine."""
