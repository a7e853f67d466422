"""Celery's worker program: the configured application and the main loop."""

import os
from collections.abc import Sequence

from celery import Celery, signals
from celery.worker import WorkController

from core.bootstrap import redis_url
from core.dispatch import celery_app
from core.settings import Settings
from worker.consumer.remote_control import limit_remote_control


def worker_application(settings: Settings, worker_id: str, lanes: Sequence[str]) -> Celery:
    """Return the configured Celery application of a worker that serves these lanes."""
    app = celery_app.celery_app(redis_url(settings), lanes)
    app.conf.update(
        broker_transport="worker.consumer.transport:Transport",
        worker_pool="worker.consumer.pool:AioPool",
        worker_consumer="worker.consumer.transport:Consumer",
        worker_soft_shutdown_timeout=settings.drain_s,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        task_queues=[*app.conf.task_queues, celery_app.worker_queue(worker_id)],
    )
    return app


def consume_queues(app: Celery, worker_id: str, lanes: Sequence[str], settings: Settings) -> int:
    """Consume the queues of these lanes until the worker is stopped; return Celery's exit status.

    The status is 0 after a stop signal, but also if Celery's loop ended without one.
    """
    limit_remote_control()
    workers: list[WorkController] = []
    signals.worker_init.connect(lambda sender, **_: workers.append(sender), weak=False)
    queues = [*map(celery_app.queue_name, lanes), celery_app.worker_queue(worker_id).name]
    app.start(
        [
            "--quiet",  # no banner between log lines
            "worker",
            f"--hostname={worker_id}",
            f"--concurrency={settings.worker_slots}",
            f"--queues={','.join(queues)}",
            f"--loglevel={settings.log_level}",
            "--without-gossip",
            "--without-mingle",
            "--task-events",
        ]
    )
    # `start` does not return the status: click handles the exception that contains the status.
    (worker,) = workers
    return int(worker.exitcode or os.EX_OK)
