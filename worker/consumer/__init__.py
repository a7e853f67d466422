"""Celery: the pool, the tasks, the connection to Redis, and Flower."""
