"""What clients are told of their project's limits: headers on every answer to a create, and refusals for now."""

import math

from flask import Flask, Response, g

from app.errors import STATUS, envelope
from core import errors
from core.allowance import Allowance, Meter


def note(allowance: Allowance | None) -> None:
    """Let the answer to this request tell what is left."""
    g.allowance = allowance


def install(app: Flask) -> None:
    """Add the headers to whatever a create is answered with, and say when what is refused is worth another try."""

    @app.after_request
    def tell(answer: Response) -> Response:
        allowance: Allowance | None = g.get("allowance")
        if allowance is not None:
            answer.headers.update(headers(allowance))
        return answer

    @app.errorhandler(errors.RateLimited)
    def refuse(error: errors.RateLimited) -> Response:
        note(error.allowance)
        status, _ = STATUS[errors.RateLimited]
        answer = envelope(status, error.kind, str(error), param=error.param, code=error.code)
        answer.headers.update(retry(error))
        return answer


def headers(allowance: Allowance) -> dict[str, str]:
    """An allowance as headers; a limit that there is not has none."""
    found: dict[str, str] = {}
    for name, meter in (("requests", allowance.requests), ("tokens", allowance.tokens)):
        if meter is not None:
            found |= _meter(name, meter)
    if allowance.over:
        found["x-ratelimit-over-limit"] = "yes"
    return found


def _meter(name: str, meter: Meter) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{name}": str(meter.limit),
        # A millionth of a token is no token, but a whole one that is short of it by rounding is.
        f"x-ratelimit-remaining-{name}": str(max(0, math.floor(meter.left + 1e-6))),
        f"x-ratelimit-reset-{name}": f"{math.ceil(meter.full_s)}s",
    }


def retry(error: errors.RateLimited) -> dict[str, str]:
    """When a refused create is worth another try, as clients' libraries read it."""
    if error.retry_after_s is None:
        return {"x-should-retry": "false"}
    milliseconds = max(1, math.ceil(error.retry_after_s * 1000))
    return {"Retry-After": str(math.ceil(milliseconds / 1000)), "retry-after-ms": str(milliseconds)}
