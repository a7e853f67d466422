"""The Celery tasks; each makes one call."""

from collections.abc import Callable

from celery import Celery

from core.dispatch import celery_app
from worker.run.runner import Runner


def register(app: Celery, runner: Runner, heard: Callable[[], None]) -> None:
    """Register the tasks with the application; `heard` is called for each task that arrives."""

    @app.task(name=celery_app.RUN_RESPONSE, ignore_result=True, shared=False)
    async def run_response(response_id: str) -> str:
        heard()
        return await runner.run(response_id)

    # Send no task events: Flower would show nothing but pings for an idle worker.
    @app.task(name=celery_app.PING, ignore_result=True, shared=False, send_events=False)
    async def ping() -> None:
        heard()
