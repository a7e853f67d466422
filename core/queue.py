"""The doorbell: a Celery message with one response ID, sent over Redis or Valkey."""

import logging
from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu import Exchange
from kombu import Queue as KombuQueue
from kombu.exceptions import LimitExceeded, OperationalError

from core import tiers
from core.patience import Patience

log = logging.getLogger(__name__)

RUN_RESPONSE = "responses.run"
PING = "workers.ping"
KEY_PREFIX = "backburner:"
# After so long a ping nobody consumed is gone.
PING_KEPT_S = 60.0
# For a connection to ring on, and for each answer on it. A create waits for no more than both.
_TURN_S = 0.5
_ANSWER_S = 0.5

_AWAY = (OperationalError, LimitExceeded, OSError)


def queue_name(lane: str) -> str:
    """The name of a lane's Celery queue."""
    return f"responses.{lane}"


def lane_queue(lane: str) -> KombuQueue:
    """The Celery queue of a lane."""
    # Without an exchange of its own: its bindings would be lost with Redis, and then every ring.
    return KombuQueue(queue_name(lane))


def ping_queue(worker_id: str) -> KombuQueue:
    """The Celery queue a worker alone consumes, which goes with it."""
    name = f"ping.{worker_id}"
    return KombuQueue(name, Exchange(name), routing_key=name, expires=PING_KEPT_S)


def celery_app(redis_url: str, lanes: Sequence[str] = (tiers.LANE,)) -> Celery:
    """The Celery application of both ends, with nothing global about it.

    A worker consumes the lanes it is given; to ring, none need be known beforehand.

    Early acknowledgement without a set of unacknowledged messages: nothing is redelivered behind our back and a
    broker's restart has nothing to restore. What is lost with it, Postgres knows and the sweeper rings again.
    """
    app = Celery("backburner", broker=redis_url, set_as_current=False)
    app.conf.update(
        broker_transport_options={
            "ack_emulation": False,
            "global_keyprefix": KEY_PREFIX,
            "socket_timeout": 15,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            # A socket that is dead without a word is left after twice as long.
            "health_check_interval": 5,
            "priority_steps": [0],
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
        },
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_limit=16,
        task_acks_late=False,
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=1,
        task_ignore_result=True,
        result_backend=None,
        task_store_errors_even_if_ignored=False,
        task_serializer="json",
        accept_content=["json"],
        task_publish_retry=False,
        task_queues=[lane_queue(lane) for lane in lanes],
        task_default_queue=queue_name(lanes[0]),
        task_create_missing_queues=False,
        worker_send_task_events=True,
        task_send_sent_event=True,
        worker_enable_remote_control=True,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        enable_utc=True,
    )
    return app


class Doorbell:
    """Rings for responses. A ring that fails costs latency, never a response."""

    def __init__(self, redis_url: str) -> None:
        app = celery_app(redis_url)
        # The consumer's socket may be silent for long; a ring that takes half a second has failed.
        app.conf.broker_transport_options = app.conf.broker_transport_options | {
            "socket_timeout": _ANSWER_S,
            "socket_connect_timeout": _ANSWER_S,
            "max_retries": 0,
        }
        self._app = app
        self._patience = Patience()

    @property
    def rings(self) -> bool:
        """Whether a ring is worth trying now."""
        return self._patience.rested

    def ring(self, response_ids: Sequence[str], lane: str) -> list[str]:
        """Ring for each response; the IDs for which that failed."""
        rung = 0
        queue: Any = lane_queue(lane)  # the stubs know names only
        try:
            with self._patience.trying(*_AWAY) as may_try:
                if not may_try:
                    return list(response_ids)
                # Many threads share few connections; while the broker hangs, nobody waits long for one.
                with self._app.producer_pool.acquire(block=True, timeout=_TURN_S) as producer:
                    for response_id in response_ids:
                        self._app.send_task(
                            RUN_RESPONSE,
                            (response_id,),
                            task_id=response_id,
                            queue=queue,
                            producer=producer,
                            retry=False,
                        )
                        rung += 1
        except _AWAY as error:
            log.warning("cannot ring", extra={"waiting": len(response_ids) - rung, "cause": repr(error)})
        return list(response_ids[rung:])

    def ping(self, worker_id: str) -> bool:
        """Send a worker a task that it answers by being there; whether Redis took it."""
        try:
            with self._patience.trying(*_AWAY) as may_try:
                if may_try:
                    with self._app.producer_pool.acquire(block=True, timeout=_TURN_S) as producer:
                        queue: Any = ping_queue(worker_id)  # the stubs know names only
                        self._app.send_task(PING, queue=queue, producer=producer, retry=False)
                return may_try
        except _AWAY as error:
            log.warning("cannot ping", extra={"cause": repr(error)})
            return False

    def close(self) -> None:
        self._app.close()
