"""The entry point of the worker process."""

import logging
import os
import secrets
import socket
import sys

from core import log
from core.bootstrap import open_core
from core.config import reload_signal
from core.config.catalog import Catalog
from core.health import serve_health
from core.settings import PREFIX, Settings
from worker.consumer import program, signals, tasks
from worker.engine import Engine

logger = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Run a worker until SIGTERM, then drain it: responses still running after `drain_s` are handed back.

    After SIGHUP, the worker reads the configuration file again. The signal must be blocked before this function is
    called; see `reload_signal.block`.

    The exit status is 0 only after a stop signal, so that supervisors restart a worker that ended for another reason.

    Raises:
        errors.BadSettings: a setting is missing or invalid.
        errors.SchemaMismatch: this program cannot run on the schema of the database.
        errors.StoreUnavailable: Postgres is unavailable at startup. After startup, the worker waits for it.
    """
    log.configure(settings.log_level)
    worker_id = f"worker-{secrets.token_hex(4)}@{socket.gethostname()}"
    with open_core(settings, connections=settings.worker_connections + 2) as core:
        core.schema.check()
        lanes = core.live_catalog.current.lanes.parse_names(settings.worker_lanes)
        app = program.worker_application(settings, worker_id, lanes)
        _warn_of_missing_keys(core.live_catalog.current)
        engine = Engine(core, worker_id, lanes)
        tasks.register(app, engine.runner, engine.consumer_probe.record_message)
        stop_record = signals.connect(engine, settings)
        core.live_catalog.subscribe(_warn_of_missing_keys)
        core.live_catalog.subscribe(engine.publish_models)
        reload_signal.start_receiver(core.live_catalog.reload)
        variable = f"{PREFIX}WORKER_HEALTH_PORT"
        with serve_health(settings.host, settings.worker_health_port, engine.health, variable=variable):
            logger.info(
                "worker started", extra={"worker": worker_id, "slots": settings.worker_slots, "lanes": ",".join(lanes)}
            )
            status = program.consume_queues(app, worker_id, lanes, settings)
    if engine.consumer_probe.is_stalled:
        sys.exit(os.EX_TEMPFAIL)
    if stop_record.signal_name is None:
        logger.critical("consumer ended without a stop signal", extra={"worker": worker_id, "status": status})
        sys.exit(status or os.EX_SOFTWARE)
    # After SIGINT, Celery's status is that of a failure, although the worker was stopped as requested.
    sys.exit(os.EX_OK if stop_record.signal_name == "SIGINT" else status)


def _warn_of_missing_keys(catalog: Catalog) -> None:
    for name, model in catalog.models.items():
        if model.api_key_env and model.api_key() is None:
            logger.warning("no API key for the model server", extra={"model": name, "variable": model.api_key_env})
