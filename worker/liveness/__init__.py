"""Checks that a worker is registered, receives messages and makes progress."""
