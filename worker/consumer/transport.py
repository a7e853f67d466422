"""Celery's connection to Redis: lost connections, the interval between reconnects, and messages that cannot be read."""

import logging
from collections.abc import Callable, Iterable
from functools import partial
from queue import Empty
from typing import Any

import redis.exceptions
from celery.worker import consumer
from kombu.message import Message
from kombu.transport import redis as kombu_redis
from vine import promise

log = logging.getLogger(__name__)

# Celery would back off for up to 30 s, so a worker would stay idle long after Redis is available again.
_RECONNECT_INTERVAL_S = 2
# The exceptions that kombu and Celery raise for messages with missing or invalid fields.
_INVALID_MESSAGE_ERRORS = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class Channel(kombu_redis.Channel):
    """kombu's channel, but other programs cannot stop it: it drops messages and keys that it cannot read."""

    def _brpop_read(self, **options: object) -> object:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]  # missing from the stubs
        except _INVALID_MESSAGE_ERRORS as error:
            log.error("dropped a message", extra={"cause": repr(error)})  # noqa: TRY400
            raise Empty from error
        except redis.exceptions.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            self._delete_unreadable_keys("llen", self.active_queues)
            raise Empty from error

    def _receive_one(self, client: object) -> object:
        try:
            return super()._receive_one(client)  # type: ignore[misc]
        except _INVALID_MESSAGE_ERRORS as error:
            log.error("dropped a message", extra={"cause": repr(error)})  # noqa: TRY400
            return None

    def _queue_bind(self, exchange: str, *binding: object) -> None:
        try:
            super()._queue_bind(exchange, *binding)  # type: ignore[misc]
        except redis.exceptions.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            prefixes = self.keyprefix_queue, self.keyprefix_binding_permanent  # type: ignore[attr-defined]
            self._delete_unreadable_keys("smembers", [prefix % (exchange,) for prefix in prefixes])
            self._delete_unreadable_keys("zrange", [self.keyprefix_binding_deadlines], 0, 0)  # type: ignore[attr-defined]
            super()._queue_bind(exchange, *binding)  # type: ignore[misc]

    def _delete_unreadable_keys(self, command: str, keys: Iterable[str], *arguments: object) -> None:
        """Delete the keys for which the command is not allowed, because another program has replaced their values."""
        with self.conn_or_acquire() as client:
            for key in keys:
                try:
                    getattr(client, command)(key, *arguments)
                except redis.exceptions.ResponseError as error:
                    log.error("deleted a key of the wrong type", extra={"key": key, "cause": repr(error)})  # noqa: TRY400
                    client.delete(key)


class Transport(kombu_redis.Transport):
    """kombu's transport, but it also treats a rejected command as a lost connection.

    Redis rejects commands during a failover, when the server becomes a replica. kombu would treat the rejection as a
    programming error: the worker would drain and exit.
    """

    Channel = Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, redis.exceptions.ResponseError)


class Consumer(consumer.Consumer):
    """Celery's consumer, but it reconnects within seconds after an outage of Redis and drops invalid task messages."""

    def ensure_connected(self, conn: Any) -> Any:
        """Wait until the connection is established and return it."""
        conn.ensure_connection = partial(conn.ensure_connection, interval_start=_RECONNECT_INTERVAL_S, interval_step=0)
        return super().ensure_connected(conn)

    def create_task_handler(self, promise: type[promise] = promise) -> Callable[[Message], None]:
        """Return the function that handles task messages; it drops invalid messages, which would stop the worker."""
        handle_task = super().create_task_handler(promise)

        def handle_valid_task(message: Message) -> None:
            try:
                handle_task(message)
            except _INVALID_MESSAGE_ERRORS as error:
                log.error("dropped a message", extra={"cause": repr(error)})  # noqa: TRY400
                message.reject_log_error(log, self.connection_errors)  # type: ignore[attr-defined]

        return handle_valid_task
