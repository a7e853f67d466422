"""Rate-limit headers: the remaining part of a project's limits, and when a rejected request may be retried."""

import math

from core import errors
from core.allowance import Allowance, Meter


def limit_headers(allowance: Allowance) -> dict[str, str]:
    """The headers for an allowance; there are none for a limit that is not configured."""
    headers: dict[str, str] = {}
    for name, meter in (("requests", allowance.requests), ("tokens", allowance.tokens)):
        if meter is not None:
            headers |= _meter_headers(name, meter)
    if allowance.over_limit:
        headers["x-ratelimit-over-limit"] = "yes"
    return headers


def _meter_headers(name: str, meter: Meter) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{name}": str(meter.limit),
        # Round down, but allow for floating-point errors: a value up to a millionth below an integer is that integer.
        f"x-ratelimit-remaining-{name}": str(max(0, math.floor(meter.remaining + 1e-6))),
        f"x-ratelimit-reset-{name}": f"{math.ceil(meter.refill_s)}s",
    }


def retry_headers(error: errors.RateLimitExceeded) -> dict[str, str]:
    """The headers from which client libraries determine when to retry a rejected request."""
    if error.retry_after_s is None:
        return {"x-should-retry": "false"}
    milliseconds = max(1, math.ceil(error.retry_after_s * 1000))
    return {"Retry-After": str(math.ceil(milliseconds / 1000)), "retry-after-ms": str(milliseconds)}
