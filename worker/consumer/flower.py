"""Flower, which shows operators what the workers do; the page of a response is /task/resp_…."""

from core import log
from core.bootstrap import redis_url
from core.dispatch import celery_app
from core.settings import Settings

# Histogram buckets in seconds. A response may run for an hour; Flower's default buckets end at ten seconds.
_BUCKETS = "1,5,15,60,300,900,1800,3600"


def run(settings: Settings) -> None:
    """Serve Flower until SIGTERM; it is read-only unless the settings say otherwise."""
    log.configure(settings.log_level)
    app = celery_app.celery_app(redis_url(settings))
    arguments = [
        "flower",
        f"--address={settings.host}",
        f"--port={settings.flower_port}",
        f"--task_runtime_metric_buckets={_BUCKETS}",
        "--max_tasks=20000",
    ]
    if settings.flower_read_only:
        arguments.append("--read_only")
    if settings.flower_basic_auth is not None:
        arguments.append(f"--basic_auth={settings.flower_basic_auth.get_secret_value()}")
    app.start(arguments)
