"""The doorbell: enqueues Celery messages with one response ID each, in Redis or Valkey."""

import logging
from collections.abc import Sequence
from typing import Any

import redis
from kombu.exceptions import LimitExceeded, OperationalError

from core.breaker import Breaker
from core.dispatch.celery_app import (
    KEY_PREFIX,
    PING,
    WORKER_QUEUE_TTL_S,
    celery_app,
    queue_name,
    worker_queue,
)
from core.dispatch.celery_message import MessageTemplate, sent_channel
from core.notify import redis_clients
from core.notify.redis_clients import COMMAND

log = logging.getLogger(__name__)

# Shared by many threads. A create request waits for a free connection and then for the answer, each time up to
# `COMMAND.answer_timeout_s`.
_MAX_CONNECTIONS = 16

_UNAVAILABLE_ERRORS = (redis.RedisError, OperationalError, LimitExceeded, OSError)


class Doorbell:
    """Enqueues responses. A message that cannot be sent delays a response, but no response is lost."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis_clients.pooled_client(redis_url, connections=_MAX_CONNECTIONS)
        self._template = MessageTemplate()
        self._sent_channel = sent_channel(int(self._redis.connection_pool.connection_kwargs.get("db") or 0))
        self._app = celery_app(redis_url)
        # The longer timeouts of `celery_app` are for a consumer's idle socket; a ping must not wait that long.
        self._app.conf.broker_transport_options = self._app.conf.broker_transport_options | {
            "socket_timeout": COMMAND.answer_timeout_s,
            "socket_connect_timeout": COMMAND.connect_timeout_s,
            "max_retries": 0,
        }
        self._breaker = Breaker()

    @property
    def can_enqueue(self) -> bool:
        """Whether the broker is considered available, or the next probe is due."""
        return self._breaker.allows_call

    def is_available(self) -> bool:
        """Whether the broker answers; after a failure, at most one probe is sent per second."""
        try:
            with self._breaker.guard_call(*_UNAVAILABLE_ERRORS) as may_try:
                return may_try and bool(self._redis.ping())
        except _UNAVAILABLE_ERRORS:
            return False

    def enqueue(self, response_ids: Sequence[str], lane: str, worker_id: str | None = None) -> list[str]:
        """Enqueue the responses in one round trip; return the IDs of those that could not be enqueued.

        Args:
            worker_id: the worker of the lane that must receive the messages; by default, any worker may.
        """
        if not response_ids:
            return []
        try:
            with self._breaker.guard_call(*_UNAVAILABLE_ERRORS) as may_try:
                if not may_try:
                    return list(response_ids)
                if worker_id is None:
                    self._send(response_ids, queue_name(lane))
                else:
                    self._send(response_ids, worker_queue(worker_id).name, ttl_s=WORKER_QUEUE_TTL_S)
        except _UNAVAILABLE_ERRORS as error:
            log.warning("cannot enqueue", extra={"waiting": len(response_ids), "cause": repr(error)})
            return list(response_ids)
        return []

    def _send(self, response_ids: Sequence[str], queue: str, ttl_s: float | None = None) -> None:
        key = KEY_PREFIX + queue
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.lpush(key, *(self._template.task_message(response_id, queue) for response_id in response_ids))
            for response_id in response_ids:
                pipeline.publish(self._sent_channel, self._template.sent_event(response_id, queue))
            if ttl_s is not None:
                pipeline.pexpire(key, int(ttl_s * 1000))
            pipeline.execute()

    def ping(self, worker_id: str) -> bool:
        """Send a ping task, which a live consumer of the worker consumes; return whether it was sent."""
        try:
            with self._breaker.guard_call(*_UNAVAILABLE_ERRORS) as may_try:
                if may_try:
                    with self._app.producer_pool.acquire(block=True, timeout=COMMAND.answer_timeout_s) as producer:
                        queue: Any = worker_queue(worker_id)  # the type stubs accept only queue names
                        self._app.send_task(PING, queue=queue, producer=producer, retry=False)
                return may_try
        except _UNAVAILABLE_ERRORS as error:
            log.warning("cannot ping", extra={"cause": repr(error)})
            return False

    def close(self) -> None:
        self._app.close()
        self._redis.close()
        self._redis.connection_pool.disconnect()
