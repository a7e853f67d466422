"""The endpoints of a model: chooses an endpoint for each request, and backs off from failed endpoints."""

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

# Number of different responses, refused in a row, after which an endpoint is down. With fewer, the responses themselves
# may be the cause.
DOWN_THRESHOLD = 3
# Backoff after the first failure of an endpoint; it doubles with each further failure.
_FIRST_BACKOFF_S = 0.25
_MAX_BACKOFF_S = 60.0
# Maximum backoff if all other endpoints are down, too: in this case the responses wait for the model's circuit.
_MAX_LONE_BACKOFF_S = 2.0
RETRY_AFTER_LIMIT_S = 300.0
# Interval at which waiting requests check whether the probe of an endpoint has ended.
_PROBE_CHECK_INTERVAL_S = 0.25


class Endpoint:
    """A base URL of a model, and its state according to the requests of this process.

    After a failure, other endpoints are preferred for a while. An endpoint is down if it is unreachable, or if it
    refused several responses in a row while it answered none. A down endpoint receives no requests until one request
    has probed it, after a backoff that grows with each failure.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        url_parts = urlsplit(base_url)
        self.name = url_parts.netloc.rpartition("@")[2] + url_parts.path  # without a password
        self.active_requests = 0
        self.failed_at = -math.inf
        self.error: errors.ModelServerError | None = None  # the last error since the last accepted request
        self.last_request_at = -math.inf
        self._accepted_requests = 0  # number of active requests that the endpoint has accepted
        self._failures = 0  # consecutive failures, without those during a backoff
        self._is_unreachable = False
        self._refused_response_ids: set[str] = set()  # since the last accepted request
        self._backoff_until = -math.inf
        self.retry_after_until = -math.inf  # from the server's Retry-After header
        self._is_probed = False  # whether an active request is the probe of the endpoint

    @property
    def is_down(self) -> bool:
        return self._is_unreachable or (
            len(self._refused_response_ids) >= DOWN_THRESHOLD and not self._accepted_requests
        )

    def available_at(self, now: float, *, are_others_down: bool) -> float:
        """Return the earliest known time at which the endpoint can receive a request (monotonic clock).

        Args:
            are_others_down: whether all other endpoints are down.
        """
        if not self.is_down:
            return now
        if self._is_probed:
            return now + _PROBE_CHECK_INTERVAL_S
        backoff_until = (
            min(self._backoff_until, self.failed_at + _MAX_LONE_BACKOFF_S) if are_others_down else self._backoff_until
        )
        return max(backoff_until, self.retry_after_until)

    def rank(self, now: float) -> int:
        """Return the rank of the endpoint; the lowest is chosen: 0 due for a probe, 1 healthy, 2 backing off."""
        if not self._failures:
            return 1
        return 2 if self._is_probed or now < max(self._backoff_until, self.retry_after_until) else 0

    @contextmanager
    def request(self, response_id: str) -> Iterator["Request"]:
        """Yield a request to this endpoint, which is active inside the block."""
        request = Request(self, response_id)
        is_probe = bool(self._failures) and not self._is_probed
        self._is_probed = self._is_probed or is_probe
        self.active_requests += 1
        self.last_request_at = time.monotonic()
        try:
            yield request
        finally:
            self.active_requests -= 1
            self._is_probed = self._is_probed and not is_probe
            if request.is_accepted:
                self._accepted_requests -= 1
                self._refused_response_ids.clear()  # the end of the request has freed capacity

    def record_acceptance(self) -> None:
        """Record that the endpoint has accepted a request, which makes it healthy."""
        if self._failures:
            log.info("endpoint answers again", extra={"endpoint": self.name})
        self._accepted_requests += 1
        self._failures = 0
        self._is_unreachable = False
        self._refused_response_ids.clear()
        self._backoff_until = self.retry_after_until = -math.inf
        self.error = None

    def record_failure(self, response_id: str, error: errors.ModelServerError) -> None:
        """Record that a request failed. Failures during a backoff do not extend it."""
        now = time.monotonic()
        self.failed_at = now
        self.error = error
        if isinstance(error, errors.ModelServerUnreachable):
            self._is_unreachable = True
        elif isinstance(error, errors.ModelServerUnavailable):
            self._refused_response_ids.add(response_id)
            self.retry_after_until = max(self.retry_after_until, now + retry_after_s(error))
        if now >= self._backoff_until:
            self._failures += 1
            backoff_s = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(self._failures - 1, 16))
            backoff_s *= random.uniform(0.5, 1)  # noqa: S311  # jitter
            self._backoff_until = now + backoff_s
            log.warning(
                "endpoint set aside",
                extra={
                    "endpoint": self.name,
                    "failures": self._failures,
                    "aside_s": round(backoff_s, 1),
                    "cause": str(error),
                },
            )


class Request:
    """An active request to an endpoint.

    Attributes:
        is_accepted: whether the endpoint has begun to answer, or is healthy although it refused the request.
    """

    def __init__(self, endpoint: Endpoint, response_id: str) -> None:
        self._endpoint = endpoint
        self._response_id = response_id
        self.is_accepted = False

    def record_acceptance(self) -> None:
        """Record that the endpoint has accepted the request."""
        self.is_accepted = True
        self._endpoint.record_acceptance()

    def record_failure(self, error: errors.ModelServerError) -> None:
        """Record that the request failed at the endpoint."""
        self._endpoint.record_failure(self._response_id, error)


class Endpoints:
    """The endpoints of one model.

    Attributes:
        has_open_circuit: whether this process knows of an open circuit of the model that it has not closed.
    """

    def __init__(self, base_urls: Sequence[str]) -> None:
        self._endpoints = [Endpoint(base_url) for base_url in base_urls]
        self._state_changed = asyncio.Event()
        self._given_up_at = -math.inf
        self.has_open_circuit = False

    def with_base_urls(self, base_urls: Sequence[str]) -> "Endpoints":
        """Return the endpoints of the model after its configuration has changed; servers that remain keep their states.

        The new object shares these states with `self`, which running responses may still use.
        """
        known_endpoints = {endpoint.base_url: endpoint for endpoint in self._endpoints}
        if tuple(known_endpoints) == tuple(base_urls):
            return self
        new_endpoints = Endpoints(base_urls)
        new_endpoints._endpoints = [
            known_endpoints.get(endpoint.base_url, endpoint) for endpoint in new_endpoints._endpoints
        ]
        new_endpoints.has_open_circuit = self.has_open_circuit
        return new_endpoints

    def choose_endpoint(self, not_before: Mapping[Endpoint, float], *, include_all: bool = False) -> Endpoint | None:
        """Return the best endpoint that can be used now, or None.

        Args:
            not_before: times (monotonic clock) before which the caller must not use the endpoints that have failed.
            include_all: whether to include endpoints in backoff, as the probe of the model's circuit does.
        """
        now = time.monotonic()
        available_endpoints = [
            endpoint
            for endpoint in self._endpoints
            if self._available_at(endpoint, not_before, now, include_all=include_all) <= now
        ]
        return min(
            available_endpoints,
            key=lambda endpoint: (endpoint.rank(now), endpoint.active_requests, endpoint.last_request_at),
            default=None,
        )

    def available_at(self, not_before: Mapping[Endpoint, float], *, include_all: bool = False) -> float:
        """Return the earliest known time (monotonic clock) at which an endpoint is available; see `choose_endpoint`."""
        now = time.monotonic()
        return min(
            self._available_at(endpoint, not_before, now, include_all=include_all) for endpoint in self._endpoints
        )

    def _available_at(
        self, endpoint: Endpoint, not_before: Mapping[Endpoint, float], now: float, *, include_all: bool
    ) -> float:
        are_others_down = all(other.is_down for other in self._endpoints if other is not endpoint)
        available_at = now if include_all else endpoint.available_at(now, are_others_down=are_others_down)
        return max(available_at, not_before.get(endpoint, -math.inf))

    def is_down_since(self, start: float) -> bool:
        """Return whether all endpoints are down and each has failed since `start` (monotonic clock)."""
        return all(endpoint.is_down and endpoint.failed_at >= start for endpoint in self._endpoints)

    def requested_backoff_s(self, retry_after_until: Mapping[Endpoint, float]) -> float:
        """Return the remaining backoff in seconds that every endpoint has requested; 0 if any of them requested none.

        Args:
            retry_after_until: times (monotonic clock) from the `Retry-After` headers that the caller received.
        """
        times = [
            max(
                retry_after_until.get(endpoint, -math.inf),
                endpoint.retry_after_until if endpoint.is_down else -math.inf,
            )
            for endpoint in self._endpoints
        ]
        return max(0.0, min(times) - time.monotonic())

    @property
    def error(self) -> errors.ModelServerError:
        """The most recent error of the failed endpoints."""
        failed_endpoints = [endpoint for endpoint in self._endpoints if endpoint.error is not None]
        if not failed_endpoints:
            return errors.ModelServerUnavailable("No model server is ready.")
        error = max(failed_endpoints, key=lambda endpoint: endpoint.failed_at).error
        assert error is not None
        return error

    def signal_acceptance(self) -> None:
        """Wake waiting callers, because an endpoint has accepted a request."""
        self._given_up_at = -math.inf
        self._wake_callers()

    def give_up(self) -> None:
        """Wake waiting callers, because the model's circuit opens and they must stop waiting."""
        self._given_up_at = time.monotonic()
        self.has_open_circuit = True
        self._wake_callers()

    def has_given_up_since(self, start: float) -> bool:
        """Return whether this process has opened the circuit since `start` and no request was accepted afterwards."""
        return self._given_up_at >= start

    def _wake_callers(self) -> None:
        self._state_changed.set()
        self._state_changed.clear()

    async def wait_until(self, deadline: float) -> None:
        """Wait until a time (monotonic clock), or until the state of an endpoint or of the circuit changes."""
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._state_changed.wait()
        except TimeoutError:
            return


def retry_after_s(error: errors.ModelServerError) -> float:
    """Return the backoff in seconds that a server requested, at most `RETRY_AFTER_LIMIT_S`; 0 if it requested none."""
    return min(getattr(error, "retry_after_s", None) or 0.0, RETRY_AFTER_LIMIT_S)
