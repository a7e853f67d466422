"""Rate-limit headers: what remains of a project's limits, and when a rejected create may be retried."""

import math

from core import errors
from core.allowance import Allowance, Meter


def headers(allowance: Allowance) -> dict[str, str]:
    """The headers of an allowance; a limit that is not set has no headers."""
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
        # Round down, but treat a value up to a millionth below an integer, a floating-point error, as that integer.
        f"x-ratelimit-remaining-{name}": str(max(0, math.floor(meter.left + 1e-6))),
        f"x-ratelimit-reset-{name}": f"{math.ceil(meter.full_s)}s",
    }


def retry(error: errors.RateLimited) -> dict[str, str]:
    """The headers that tell client libraries when to retry a rejected create."""
    if error.retry_after_s is None:
        return {"x-should-retry": "false"}
    milliseconds = max(1, math.ceil(error.retry_after_s * 1000))
    return {"Retry-After": str(math.ceil(milliseconds / 1000)), "retry-after-ms": str(milliseconds)}
