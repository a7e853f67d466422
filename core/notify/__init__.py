"""Notifications between processes over Redis pub/sub; a lost one costs latency only."""
