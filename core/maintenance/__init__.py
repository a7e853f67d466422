"""The sweeper's maintenance tasks for all responses."""
