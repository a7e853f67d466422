"""Celery tasks: a name, its options and one call each."""

from celery import Celery

from core import queue
from worker.runner import Runner


def register(app: Celery, runner: Runner) -> None:
    """Add the tasks to the application."""

    @app.task(name=queue.RUN_RESPONSE, ignore_result=True, shared=False)
    async def run_response(response_id: str) -> str:
        return await runner.run(response_id)
