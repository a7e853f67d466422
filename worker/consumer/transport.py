"""Celery's way to Redis: what is a lost connection, and how soon it is made again."""

from functools import partial
from typing import Any

import redis.exceptions
from celery.worker import consumer
from kombu.transport import redis as kombu_redis

# Between two tries to reach a Redis that is away. Celery would wait longer each time, up to 30 s.
_AGAIN_S = 2


class Transport(kombu_redis.Transport):
    """kombu's transport, for which a Redis that turns into a replica is a lost connection.

    kombu takes the refusal of a command, as it comes during a failover, for an error of the program: a worker
    would then drain and leave.
    """

    connection_errors = (*kombu_redis.Transport.connection_errors, redis.exceptions.ResponseError)


class Consumer(consumer.Consumer):
    """Celery's consumer, which is back within seconds however long Redis was away."""

    def ensure_connected(self, conn: Any) -> Any:
        """The connection, once it is there."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=_AGAIN_S, interval_step=0)
        return super().ensure_connected(conn)
