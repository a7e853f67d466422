"""The Celery side of a worker: the pool, the tasks, the connection to Redis, and Flower."""
