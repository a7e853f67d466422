"""The background edge: Celery rings, a runner claims, a model server answers, events are written."""
