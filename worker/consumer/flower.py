"""Runs Flower, the web interface that shows the tasks of the workers; a response's page is /task/resp_…."""

import signal

from core import log
from core.bootstrap import redis_url
from core.dispatch import celery_app
from core.settings import Settings

# Upper bounds in seconds of the histogram of run times. Responses may run for an hour, but Flower's default buckets end
# at ten seconds.
_RUNTIME_BUCKETS = "1,5,15,60,300,900,1800,3600"


def run(settings: Settings) -> None:
    """Serve Flower until SIGTERM, read-only by default. Flower reads no configuration file, so SIGHUP is ignored."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    log.configure(settings.log_level)
    app = celery_app.celery_app(redis_url(settings))
    arguments = [
        "flower",
        f"--address={settings.host}",
        f"--port={settings.flower_port}",
        f"--task_runtime_metric_buckets={_RUNTIME_BUCKETS}",
        "--max_tasks=20000",
    ]
    if settings.flower_read_only:
        arguments.append("--read_only")
    if settings.flower_basic_auth is not None:
        arguments.append(f"--basic_auth={settings.flower_basic_auth.get_secret_value()}")
    app.start(arguments)
