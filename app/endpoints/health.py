"""/healthz and /readyz, for supervisors and load balancers; no key needed."""

import redis
from flask import Blueprint
from flask.typing import ResponseReturnValue

from core import errors
from core.bootstrap import Core
from core.version import VERSION


def blueprint(core: Core) -> Blueprint:
    """The routes of health."""
    routes = Blueprint("health", __name__)

    @routes.get("/healthz")
    def alive() -> ResponseReturnValue:
        return {"status": "ok", "version": VERSION}

    @routes.get("/readyz")
    def ready() -> ResponseReturnValue:
        try:
            core.schema.check()
        except errors.StoreUnavailable:
            return {"status": "not ready", "reason": "Postgres cannot be reached."}, 503
        except errors.SchemaMismatch as error:
            return {"status": "not ready", "reason": str(error)}, 503
        try:
            core.bus.ping()
        except redis.RedisError:
            # Responses are accepted all the same; they wait in Postgres.
            return {"status": "ok", "postgres": "ok", "redis": "unreachable"}
        return {"status": "ok", "postgres": "ok", "redis": "ok"}

    return routes
