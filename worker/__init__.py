"""The worker process: it consumes Celery messages, claims and runs responses, and writes their events."""
