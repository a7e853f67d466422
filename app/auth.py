"""Authenticates requests by API key and project, and checks the right that an endpoint requires."""

import logging
import time

from app.http import Exchange, is_readable
from core import errors
from core.tenants.keys import Caller
from core.tenants.rights import Right

log = logging.getLogger(__name__)

_MIN_CHECK_INTERVAL_S = 1.0


def authenticate(exchange: Exchange) -> Caller:
    """Authenticate a request under /v1 and return its caller.

    Raises:
        errors.InvalidKey: the key is missing, unknown or revoked.
        errors.NotFound: the requested project does not exist, or the key has no access to it.
        errors.InvalidRequest: the request names two different projects, or contains a header that cannot be read.
    """
    return exchange.core.keys.caller(
        parse_bearer_key(exchange.environ.get("HTTP_AUTHORIZATION")), _read_requested_projects(exchange)
    )


class Reauthentication:
    """Repeats the authentication of a request that waits, so that a revoked key ends the wait.

    The check is repeated after the time for which a process caches keys. Other requests with a revoked key fail after
    the same time.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._checked_at = time.monotonic()

    @property
    def interval_s(self) -> float:
        """The interval between two checks: `BACKBURNER_KEY_CACHE_S`, but at least one second."""
        return max(_MIN_CHECK_INTERVAL_S, self._exchange.core.settings.key_cache_s)

    def repeat_if_due(self) -> None:
        """Authenticate again if the interval has passed. While Postgres is unavailable, the earlier result is valid.

        Raises:
            errors.InvalidKey: the key was revoked.
            errors.NotFound: the key lost its access to the project.
        """
        now = time.monotonic()
        if now - self._checked_at < self.interval_s:
            return
        self._checked_at = now
        try:
            authenticate(self._exchange)
        except errors.StoreUnavailable as error:
            log.warning("cannot check the key of a waiting request", extra={"cause": str(error)})


def check_right(caller: Caller, right: Right) -> None:
    """Check that the caller's key has the right.

    Raises:
        errors.Forbidden: the key lacks the right.
    """
    if right not in caller.rights:
        raise errors.Forbidden(f"This API key lacks the right '{right}', which the request requires.")


def parse_bearer_key(header: str | None) -> str:
    """Return the API key in an Authorization header.

    Raises:
        errors.InvalidKey: the header is missing, malformed, unreadable or repeated.
    """
    if header is None:
        raise errors.InvalidKey("You didn't provide an API key: send it as `Authorization: Bearer <key>`.")
    if not is_readable(header) or "," in header:
        raise errors.InvalidKey("The Authorization header must occur once and contain only ASCII characters.")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise errors.InvalidKey("The Authorization header must read `Bearer <key>`.")
    return secret.strip()


def _read_requested_projects(exchange: Exchange) -> dict[str, str]:
    """Return the requested projects by parameter name; an empty `ai_project_id` is ignored."""
    header = exchange.header("OpenAI-Project")
    if header is None and not exchange.has_query:
        return {}
    project_names = {"ai_project_id": exchange.arguments.get("ai_project_id", ""), "OpenAI-Project": header or ""}
    return {param: name.strip() for param, name in project_names.items() if name.strip()}
