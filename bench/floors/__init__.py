"""Floors: minimal programs that do the same kind of work as a path of the product, measured on the same machine."""
