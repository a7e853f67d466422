"""GET /healthz and GET /readyz, for supervisors and load balancers; no key is required."""

import redis

from app.http import Answer, Exchange, json_object
from core import VERSION, errors


def get_health(_: Exchange) -> Answer:
    """Report that the process is running."""
    return json_object({"status": "ok", "version": VERSION})


def get_readiness(exchange: Exchange) -> Answer:
    """Report whether the process can accept requests."""
    try:
        exchange.core.schema.check()
    except errors.StoreUnavailable:
        return json_object({"status": "not ready", "reason": "Postgres cannot be reached."}, 503)
    except errors.SchemaMismatch as error:
        return json_object({"status": "not ready", "reason": str(error)}, 503)
    try:
        exchange.core.bus.ping()
    except redis.RedisError:
        # Responses are still accepted; they wait in Postgres.
        return json_object({"status": "ok", "postgres": "ok", "redis": "unreachable"})
    return json_object({"status": "ok", "postgres": "ok", "redis": "ok"})
