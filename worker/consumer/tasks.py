"""Registers the Celery tasks of a worker."""

from collections.abc import Callable

from celery import Celery

from core import ids
from core.dispatch import celery_app
from worker.run.runner import Runner


def register(app: Celery, runner: Runner, on_message: Callable[[], None]) -> None:
    """Register the tasks with the application; `on_message` is called for each message that arrives."""

    @app.task(name=celery_app.RUN_RESPONSE, ignore_result=True, shared=False)
    async def run_response(response_id: object) -> str:
        on_message()
        if not isinstance(response_id, str) or not ids.is_response_id(response_id):
            return "not claimed: the message has no response ID"
        return await runner.run(response_id)

    # Send no task events: they would fill Flower's list with pings while the worker is idle.
    @app.task(name=celery_app.PING, ignore_result=True, shared=False, send_events=False)
    async def ping() -> None:
        on_message()
