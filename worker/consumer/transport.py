"""Celery's connection to Redis: which errors count as a lost connection, and how soon it reconnects."""

from functools import partial
from typing import Any

import redis.exceptions
from celery.worker import consumer
from kombu.transport import redis as kombu_redis

# Pause between attempts to reconnect to an unavailable Redis. Celery would back off, up to 30 s.
_AGAIN_S = 2


class Transport(kombu_redis.Transport):
    """kombu's transport, except that it treats a Redis server that becomes a replica as a lost connection.

    kombu treats a rejected command, which occurs during a failover, as a programming error: the worker would drain
    and exit.
    """

    connection_errors = (*kombu_redis.Transport.connection_errors, redis.exceptions.ResponseError)


class Consumer(consumer.Consumer):
    """Celery's consumer, except that it reconnects within seconds however long Redis was unavailable."""

    def ensure_connected(self, conn: Any) -> Any:
        """Wait until the connection is established and return it."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=_AGAIN_S, interval_step=0)
        return super().ensure_connected(conn)
