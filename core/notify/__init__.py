"""Notifications between processes over Redis pub/sub; losing a notification costs only latency."""
