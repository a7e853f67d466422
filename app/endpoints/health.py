"""GET /healthz and GET /readyz, for supervisors and load balancers; no key is required."""

import redis

from app.http import Answer, Exchange, json_object
from core import VERSION, errors
from core.bootstrap import Core


def get_health(exchange: Exchange) -> Answer:
    """Report that the process is running, and whether it uses the latest version of its configuration file."""
    return json_object({"status": "ok", "version": VERSION, "configuration": exchange.core.live_catalog.state})


def get_readiness(exchange: Exchange) -> Answer:
    """Report whether the process can accept requests."""
    problem = _find_problem(exchange.core)
    if problem:
        return json_object({"status": "not ready", "reason": problem}, 503)
    # Without Redis, responses are still accepted; they wait in Postgres.
    redis_state = "ok" if _is_redis_reachable(exchange.core) else "unreachable"
    return json_object({"status": "ok", "postgres": "ok", "redis": redis_state})


def _find_problem(core: Core) -> str | None:
    try:
        core.schema.check()
    except errors.StoreUnavailable:
        return "Postgres cannot be reached."
    except errors.SchemaMismatch as error:
        return str(error)
    return None


def _is_redis_reachable(core: Core) -> bool:
    try:
        core.bus.ping()
    except redis.RedisError:
        return False
    return True
