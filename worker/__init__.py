"""The worker process: consumes Celery messages, claims and runs responses, and writes their events."""
