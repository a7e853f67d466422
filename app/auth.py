"""Bearer keys: before every route under /v1, who is calling, for which project, and whether the key may."""

from flask import Flask, g, request

from app.rights import NEEDS
from core import errors
from core.tenants import audit
from core.tenants.audit import Actor
from core.tenants.keys import Caller, Keys


def install(app: Flask, keys: Keys) -> None:
    """Let nothing under /v1 be reached without a good key that has the right for it."""

    @app.before_request
    def authenticate() -> None:
        if request.path == "/v1" or request.path.startswith("/v1/"):
            g.caller = keys.caller(bearer(request.headers.get("Authorization")), _asked_projects())
            _check_right(g.caller)


def bearer(header: str | None) -> str:
    """The secret of an Authorization header; raises `errors.InvalidKey` where there is none."""
    if header is None:
        raise errors.InvalidKey("You didn't provide an API key: send it as `Authorization: Bearer <key>`.")
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise errors.InvalidKey("The Authorization header must read `Bearer <key>`.")
    return secret.strip()


def _asked_projects() -> dict[str, str]:
    """What the request says of its project; an empty text says nothing.

    Raises:
        errors.InvalidRequest: the query names two.
    """
    in_query = set(request.args.getlist("ai_project_id")) if request.query_string else set()
    if len(in_query) > 1:
        raise errors.InvalidRequest("ai_project_id is given twice.", param="ai_project_id")
    named = {"ai_project_id": next(iter(in_query), ""), "OpenAI-Project": request.headers.get("OpenAI-Project", "")}
    return {param: text.strip() for param, text in named.items() if text.strip()}


def _check_right(found: Caller) -> None:
    """Return if the key may do this; what leads nowhere, and OPTIONS, need no right.

    Raises:
        errors.Forbidden: it may not; nothing was done.
    """
    if request.url_rule is None or request.method == "OPTIONS":
        return
    method = "GET" if request.method == "HEAD" else request.method
    needed = NEEDS[method, request.url_rule.rule]
    if needed not in found.rights:
        raise errors.Forbidden(f"This key may not do this: it needs the right '{needed}'.")


def caller() -> Caller:
    """Who is calling; routes under /v1 only."""
    found: Caller = g.caller
    return found


def actor() -> Actor:
    """The caller, as the audit log names it."""
    return audit.key(caller().key_id, g.request_id)
