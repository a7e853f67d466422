"""The doorbell: a Celery message with one response ID, sent over Redis or Valkey."""

import logging
import time
from collections.abc import Sequence

from celery import Celery
from kombu import Queue as KombuQueue
from kombu.exceptions import LimitExceeded, OperationalError

from core import tiers

log = logging.getLogger(__name__)

RUN_RESPONSE = "responses.run"
KEY_PREFIX = "backburner:"
# After a failed ring nobody tries for so long: a broker that hangs would cost every create its time-out.
REST_S = 1.0
_TURN_S = 0.5


def queue_name(lane: str) -> str:
    """The Celery queue of a lane."""
    return f"responses.{lane}"


def celery_app(redis_url: str) -> Celery:
    """The Celery application of both ends, with nothing global about it.

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
            "health_check_interval": 25,
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
        task_queues=[KombuQueue(queue_name(tiers.LANE))],
        task_default_queue=queue_name(tiers.LANE),
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
        # The consumer's socket may be silent for long; a ring that takes 2 s has failed.
        app.conf.broker_transport_options = app.conf.broker_transport_options | {"socket_timeout": 2}
        self._app = app
        self._quiet_until = 0.0

    @property
    def rings(self) -> bool:
        """Whether a ring is worth trying now."""
        return time.monotonic() >= self._quiet_until

    def ring(self, response_ids: Sequence[str], lane: str) -> list[str]:
        """Ring for each response; the IDs for which that failed."""
        rung = 0
        try:
            # Many threads share few connections; while the broker hangs, nobody waits long for one.
            with self._app.producer_pool.acquire(block=True, timeout=_TURN_S) as producer:
                for response_id in response_ids:
                    if not self.rings:
                        break
                    self._app.send_task(
                        RUN_RESPONSE,
                        (response_id,),
                        task_id=response_id,
                        queue=queue_name(lane),
                        producer=producer,
                        retry=False,
                    )
                    rung += 1
        except (OperationalError, LimitExceeded, OSError) as error:
            self._quiet_until = time.monotonic() + REST_S
            log.warning("cannot ring", extra={"waiting": len(response_ids) - rung, "cause": repr(error)})
        return list(response_ids[rung:])

    def close(self) -> None:
        self._app.close()
