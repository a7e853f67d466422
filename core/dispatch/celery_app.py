"""The Celery application of producers and workers, and the names of its tasks and queues."""

from collections.abc import Sequence

from celery import Celery
from kombu import Exchange
from kombu import Queue as KombuQueue

from core.config import tiers

RUN_RESPONSE = "responses.run"
PING = "workers.ping"
KEY_PREFIX = "backburner:"
# Seconds after which the messages in a worker's own queue expire, unless the worker consumes them or more are sent.
WORKER_QUEUE_TTL_S = 60.0

_TRANSPORT_OPTIONS = {
    "ack_emulation": False,
    "global_keyprefix": KEY_PREFIX,
    "socket_timeout": 15,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    # After twice this time, redis-py closes a connection that was lost without notice.
    "health_check_interval": 5,
    "priority_steps": [0],
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0,
}
_CONFIGURATION: dict[str, object] = {
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_pool_limit": 16,
    "task_acks_late": False,
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    "task_ignore_result": True,
    "result_backend": None,
    "task_store_errors_even_if_ignored": False,
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_publish_retry": False,
    "task_create_missing_queues": False,
    "worker_send_task_events": True,
    "task_send_sent_event": True,
    "worker_enable_remote_control": True,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "enable_utc": True,
}


def queue_name(lane: str) -> str:
    """Return the name of the Celery queue of a lane."""
    return f"responses.{lane}"


def lane_queue(lane: str) -> KombuQueue:
    """Return the Celery queue of a lane."""
    # No exchange: its bindings are stored in Redis, and after a loss of Redis every message would be unroutable.
    return KombuQueue(queue_name(lane))


def worker_queue(worker_id: str) -> KombuQueue:
    """Return the Celery queue that only this worker consumes; it expires after the worker has stopped."""
    name = f"worker.{worker_id}"
    return KombuQueue(name, Exchange(name), routing_key=name, expires=WORKER_QUEUE_TTL_S)


def celery_app(redis_url: str, lanes: Sequence[str] = (tiers.LANE,)) -> Celery:
    """Create the Celery application of producers and workers, without global state.

    Messages are acknowledged early, without a set of unacknowledged messages: Celery never redelivers a message, and a
    restart of the broker restores no messages. If a message is lost, the sweeper enqueues its response again from
    Postgres.

    Args:
        redis_url: the broker.
        lanes: the lanes that a worker consumes; a producer may enqueue to any lane.
    """
    app = Celery("backburner", broker=redis_url, set_as_current=False)
    app.conf.update(
        _CONFIGURATION,
        broker_transport_options=dict(_TRANSPORT_OPTIONS),
        task_queues=[lane_queue(lane) for lane in lanes],
        task_default_queue=queue_name(lanes[0]),
    )
    return app
