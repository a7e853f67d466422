"""Bearer keys: who calls, for which project, and whether the key has the right for an endpoint."""

from app.http import Exchange
from core import errors
from core.tenants.keys import Caller
from core.tenants.rights import Right


def authenticate(exchange: Exchange) -> Caller:
    """The caller of a request under /v1.

    Raises:
        errors.InvalidKey: there is no key, or it is unknown or revoked.
        errors.NotFound: the request names a project that the key may not use.
        errors.InvalidRequest: the query names two projects.
    """
    return exchange.core.keys.caller(bearer(exchange.header("Authorization")), _named_projects(exchange))


def check_right(caller: Caller, right: Right) -> None:
    """Return if the caller's key has the right.

    Raises:
        errors.Forbidden: it does not. Nothing was done.
    """
    if right not in caller.rights:
        raise errors.Forbidden(f"This key may not do this: it needs the right '{right}'.")


def bearer(header: str | None) -> str:
    """The secret in an Authorization header.

    Raises:
        errors.InvalidKey: there is none.
    """
    if header is None:
        raise errors.InvalidKey("You didn't provide an API key: send it as `Authorization: Bearer <key>`.")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise errors.InvalidKey("The Authorization header must read `Bearer <key>`.")
    return secret.strip()


def _named_projects(exchange: Exchange) -> dict[str, str]:
    """The projects that the request names, by parameter; an empty value names none."""
    in_query = set(exchange.arguments.getlist("ai_project_id"))
    if len(in_query) > 1:
        raise errors.InvalidRequest("ai_project_id is given twice.", param="ai_project_id")
    named = {
        "ai_project_id": next(iter(in_query), ""),
        "OpenAI-Project": exchange.header("OpenAI-Project") or "",
    }
    return {param: text.strip() for param, text in named.items() if text.strip()}
