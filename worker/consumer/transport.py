"""Celery's connection to Redis: the errors that indicate a lost connection, and the interval between reconnects."""

from functools import partial
from typing import Any

import redis.exceptions
from celery.worker import consumer
from kombu.transport import redis as kombu_redis

# Celery would back off for up to 30 s, so a worker would stay idle long after Redis is available again.
_RECONNECT_INTERVAL_S = 2


class Transport(kombu_redis.Transport):
    """kombu's transport, which also treats a rejected command as a lost connection.

    Redis rejects commands during a failover, when the server becomes a replica. kombu would treat that as a programming
    error: the worker would drain and exit.
    """

    connection_errors = (*kombu_redis.Transport.connection_errors, redis.exceptions.ResponseError)


class Consumer(consumer.Consumer):
    """Celery's consumer, which reconnects within seconds even after a long outage of Redis."""

    def ensure_connected(self, conn: Any) -> Any:
        """Wait until the connection is established and return it."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=_RECONNECT_INTERVAL_S, interval_step=0)
        return super().ensure_connected(conn)
