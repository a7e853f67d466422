"""The endpoints of a model: chooses one for each request, and backs off from those that fail."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from core import errors

log = logging.getLogger(__name__)

# A single refused response may itself be the cause; this many different responses in a row indicate the endpoint.
ENOUGH = 3
# Backoff after the first failure of an endpoint; it doubles with each further failure.
_FIRST_S = 0.25
_LONGEST_S = 60.0
# Maximum backoff if all other endpoints are down, too: then the model's circuit makes the responses wait.
_LONGEST_ALONE_S = 2.0
RETRY_AFTER_LIMIT_S = 300.0
# Interval at which to check the result of the one request that probes an endpoint.
_LOOK_S = 0.25


class Endpoint:
    """A base URL of a model, and its state as seen by this process: from the results of requests, not health checks.

    After a failure, other endpoints are preferred for a while. An endpoint is `down` if it is unreachable, or if it had
    no capacity for several responses in a row while it was answering none. A down endpoint receives no requests until
    one request has probed it, after a backoff that grows with each failure.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        where = urlsplit(base_url)
        self.name = where.netloc.rpartition("@")[2] + where.path  # without a password
        self.under_way = 0
        self.failed_at = -math.inf
        self.error: errors.ModelServerFailed | None = None  # the last error, until the endpoint takes a request again
        self.asked_at = -math.inf
        self._answering = 0  # number of requests under way that the endpoint has taken
        self._failures = 0  # consecutive failures
        self._unreachable = False
        self._refused: set[str] = set()  # responses it had no capacity for since it last took one
        self._aside_until = -math.inf
        self.told_until = -math.inf  # from the server's Retry-After header
        self._tried = False  # whether a request is probing the endpoint

    @property
    def down(self) -> bool:
        return self._unreachable or (len(self._refused) >= ENOUGH and not self._answering)

    def opens_at(self, now: float, *, alone: bool) -> float:
        """Return the earliest known time for a request (monotonic clock); `alone` if all other endpoints are down."""
        if not self.down:
            return now
        if self._tried:
            return now + _LOOK_S
        aside_until = min(self._aside_until, self.failed_at + _LONGEST_ALONE_S) if alone else self._aside_until
        return max(aside_until, self.told_until)

    def rank(self, now: float) -> int:
        """Return the rank for the choice, lowest first: 0 due for a probe, 1 healthy, 2 failed recently."""
        if not self._failures:
            return 1
        return 2 if self._tried or now < max(self._aside_until, self.told_until) else 0

    @contextmanager
    def request(self, response_id: str) -> Iterator["Request"]:
        """Count a request as under way at this endpoint inside the block."""
        request = Request(self, response_id)
        tries = bool(self._failures) and not self._tried
        self._tried = self._tried or tries
        self.under_way += 1
        self.asked_at = time.monotonic()
        try:
            yield request
        finally:
            self.under_way -= 1
            self._tried = self._tried and not tries
            if request.taken:
                self._answering -= 1
                self._refused.clear()  # its capacity is free again

    def took(self) -> None:
        """Record that the endpoint has taken a request, which makes it healthy."""
        if self._failures:
            log.info("endpoint answers again", extra={"endpoint": self.name})
        self._answering += 1
        self._failures = 0
        self._unreachable = False
        self._refused.clear()
        self._aside_until = self.told_until = -math.inf
        self.error = None

    def failed(self, response_id: str, error: errors.ModelServerFailed) -> None:
        """Record that a request failed. Failures during a backoff do not extend it."""
        now = time.monotonic()
        self.failed_at = now
        self.error = error
        if isinstance(error, errors.Unreachable):
            self._unreachable = True
        elif isinstance(error, errors.Unavailable):
            self._refused.add(response_id)
            self.told_until = max(self.told_until, now + retry_after_s(error))
        if now >= self._aside_until:
            self._failures += 1
            aside_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(self._failures - 1, 16)) * random.uniform(0.5, 1)  # noqa: S311
            self._aside_until = now + aside_s
            log.warning(
                "endpoint set aside",
                extra={
                    "endpoint": self.name,
                    "failures": self._failures,
                    "aside_s": round(aside_s, 1),
                    "cause": str(error),
                },
            )


class Request:
    """A request under way at an endpoint.

    Attributes:
        taken: whether the endpoint has begun to answer, or has refused the request in a way that shows it is healthy.
    """

    def __init__(self, endpoint: Endpoint, response_id: str) -> None:
        self._endpoint = endpoint
        self._response_id = response_id
        self.taken = False

    def take(self) -> None:
        """Record that the endpoint has taken the request."""
        self.taken = True
        self._endpoint.took()

    def fail(self, error: errors.ModelServerFailed) -> None:
        """Record that the request failed at the endpoint."""
        self._endpoint.failed(self._response_id, error)


class Endpoints:
    """The endpoints of one model.

    Attributes:
        circuit_seen: whether this process knows of an open circuit of the model that it has not closed.
    """

    def __init__(self, base_urls: Sequence[str]) -> None:
        self._all = [Endpoint(base_url) for base_url in base_urls]
        self._news = asyncio.Event()
        self._given_up_at = -math.inf
        self.circuit_seen = False

    def choose(self, not_before: Mapping[Endpoint, float], *, all_open: bool = False) -> Endpoint | None:
        """Return the best endpoint that can be used now, or None.

        Args:
            not_before: times (monotonic clock) before which the caller must not use the endpoints that failed it.
            all_open: whether to include endpoints in backoff; true if the caller is the probe of the model's circuit.
        """
        now = time.monotonic()
        free = [one for one in self._all if self._opens_at(one, not_before, now, all_open=all_open) <= now]
        return min(free, key=lambda one: (one.rank(now), one.under_way, one.asked_at), default=None)

    def opens_at(self, not_before: Mapping[Endpoint, float], *, all_open: bool = False) -> float:
        """Return the earliest known time at which an endpoint can be used (monotonic clock); see `choose`."""
        now = time.monotonic()
        return min(self._opens_at(one, not_before, now, all_open=all_open) for one in self._all)

    def _opens_at(self, one: Endpoint, not_before: Mapping[Endpoint, float], now: float, *, all_open: bool) -> float:
        alone = all(other.down for other in self._all if other is not one)
        opens_at = now if all_open else one.opens_at(now, alone=alone)
        return max(opens_at, not_before.get(one, -math.inf))

    def down_since(self, moment: float) -> bool:
        """Return whether all endpoints are down and each has failed since `moment` (monotonic clock)."""
        return all(one.down and one.failed_at >= moment for one in self._all)

    def asked_s(self, told_until: Mapping[Endpoint, float]) -> float:
        """Return the time in seconds, from now, for which all endpoints asked to back off; 0 if they did not.

        Args:
            told_until: times (monotonic clock) from the `Retry-After` headers sent to the caller.
        """
        until = [max(told_until.get(one, -math.inf), one.told_until if one.down else -math.inf) for one in self._all]
        return max(0.0, min(until) - time.monotonic())

    @property
    def error(self) -> errors.ModelServerFailed:
        """The most recent error of the endpoints that failed."""
        failed = [one for one in self._all if one.error is not None]
        if not failed:
            return errors.Unavailable("No model server is ready.")
        last = max(failed, key=lambda one: one.failed_at).error
        assert last is not None
        return last

    def took(self) -> None:
        """Wake waiting callers, because an endpoint has taken a request."""
        self._given_up_at = -math.inf
        self._tell()

    def give_up(self) -> None:
        """Wake waiting callers, because the model's circuit opens and they must stop waiting."""
        self._given_up_at = time.monotonic()
        self.circuit_seen = True
        self._tell()

    def given_up_since(self, moment: float) -> bool:
        """Return whether this process opened the circuit at or after `moment` and no endpoint took a request since."""
        return self._given_up_at >= moment

    def _tell(self) -> None:
        self._news.set()
        self._news.clear()

    async def rest(self, until: float) -> None:
        """Wait until a time (monotonic clock), or until the state of an endpoint or of the circuit changes."""
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await self._news.wait()
        except TimeoutError:
            return


def retry_after_s(error: errors.ModelServerFailed) -> float:
    """Return the backoff in seconds that the server asked for, at most `RETRY_AFTER_LIMIT_S`; 0 if it did not."""
    return min(getattr(error, "retry_after_s", None) or 0.0, RETRY_AFTER_LIMIT_S)
