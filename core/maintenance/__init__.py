"""Chores that the sweeper does for all responses."""
