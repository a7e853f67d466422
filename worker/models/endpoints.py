"""The endpoints of a model: which one a request goes to, and which are left alone for a while."""

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

# What one response was refused may be its own fault; what so many were in a row is the endpoint's.
ENOUGH = 3
# An endpoint that failed is left alone for this long, then for twice as long, and so on.
_FIRST_S = 0.25
_LONGEST_S = 60.0
# But for no longer where there is no other: it is the circuit of the model that waits then.
_LONGEST_ALONE_S = 2.0
RETRY_AFTER_LIMIT_S = 300.0
# How soon to look again what became of the one request that tries an endpoint.
_LOOK_S = 0.25


class Endpoint:
    """One base URL of a model, as this process knows it: by what became of its requests, never by asking more.

    It fails softly (others are preferred for a while) or is `down` (nobody asks, until one request has tried it
    after a time that grows with each failure): when it cannot be reached, or had no room for several responses in a
    row while it answered none.
    """

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        where = urlsplit(base_url)
        self.name = where.netloc.rpartition("@")[2] + where.path  # without a password
        self.under_way = 0
        self.failed_at = -math.inf
        self.error: errors.ModelServerFailed | None = None  # the last one, until it answers again
        self.asked_at = -math.inf
        self._answering = 0  # of those under way, the ones it has taken
        self._failures = 0  # in a row
        self._unreachable = False
        self._refused: set[str] = set()  # responses it had no room for since it took one
        self._aside_until = -math.inf
        self.told_until = -math.inf  # by its Retry-After
        self._tried = False  # one request is finding out

    @property
    def down(self) -> bool:
        return self._unreachable or (len(self._refused) >= ENOUGH and not self._answering)

    def opens_at(self, now: float, *, alone: bool) -> float:
        """When a request may be sent there, as far as is known now; `alone` where all others are down, too."""
        if not self.down:
            return now
        if self._tried:
            return now + _LOOK_S
        aside_until = min(self._aside_until, self.failed_at + _LONGEST_ALONE_S) if alone else self._aside_until
        return max(aside_until, self.told_until)

    def rank(self, now: float) -> int:
        """The lower, the better to ask: one that is to be tried again, a healthy one, one that failed lately."""
        if not self._failures:
            return 1
        return 2 if self._tried or now < max(self._aside_until, self.told_until) else 0

    @contextmanager
    def request(self, response_id: str) -> Iterator["Request"]:
        """A request that is under way there as long as the block."""
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
                self._refused.clear()  # there is room for another now

    def took(self) -> None:
        """It has taken a request: all is well."""
        if self._failures:
            log.info("endpoint answers again", extra={"endpoint": self.name})
        self._answering += 1
        self._failures = 0
        self._unreachable = False
        self._refused.clear()
        self._aside_until = self.told_until = -math.inf
        self.error = None

    def failed(self, response_id: str, error: errors.ModelServerFailed) -> None:
        """It has failed at a request. What fails while it is left alone already makes that no longer."""
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
    """One request under way at an endpoint.

    Attributes:
        taken: whether the endpoint has begun to answer it, or given it another answer that shows that it is well.
    """

    def __init__(self, endpoint: Endpoint, response_id: str) -> None:
        self._endpoint = endpoint
        self._response_id = response_id
        self.taken = False

    def take(self) -> None:
        """Say that the endpoint has taken it."""
        self.taken = True
        self._endpoint.took()

    def fail(self, error: errors.ModelServerFailed) -> None:
        """Say that the endpoint failed at it."""
        self._endpoint.failed(self._response_id, error)


class Endpoints:
    """The endpoints of one model.

    Attributes:
        circuit_seen: whether this process knows of a circuit of the model that it has not closed.
    """

    def __init__(self, base_urls: Sequence[str]) -> None:
        self._all = [Endpoint(base_url) for base_url in base_urls]
        self._news = asyncio.Event()
        self._given_up_at = -math.inf
        self.circuit_seen = False

    def choose(self, not_before: Mapping[Endpoint, float], *, all_open: bool = False) -> Endpoint | None:
        """The best endpoint that may be asked now, or None.

        Args:
            not_before: when the caller may ask those that failed it.
            all_open: ask also what is left alone; the caller is the one who finds out for all.
        """
        now = time.monotonic()
        free = [one for one in self._all if self._opens_at(one, not_before, now, all_open=all_open) <= now]
        return min(free, key=lambda one: (one.rank(now), one.under_way, one.asked_at), default=None)

    def opens_at(self, not_before: Mapping[Endpoint, float], *, all_open: bool = False) -> float:
        """When an endpoint may be asked, as far as is known; by the monotonic clock."""
        now = time.monotonic()
        return min(self._opens_at(one, not_before, now, all_open=all_open) for one in self._all)

    def _opens_at(self, one: Endpoint, not_before: Mapping[Endpoint, float], now: float, *, all_open: bool) -> float:
        alone = all(other.down for other in self._all if other is not one)
        opens_at = now if all_open else one.opens_at(now, alone=alone)
        return max(opens_at, not_before.get(one, -math.inf))

    def down_since(self, moment: float) -> bool:
        """Whether nobody gets an answer from any of them, and each has failed since `moment`."""
        return all(one.down and one.failed_at >= moment for one in self._all)

    def asked_s(self, told_until: Mapping[Endpoint, float]) -> float:
        """For how long, from now, all of them asked to be left alone: the caller (until when), or everybody."""
        until = [max(told_until.get(one, -math.inf), one.told_until if one.down else -math.inf) for one in self._all]
        return max(0.0, min(until) - time.monotonic())

    @property
    def error(self) -> errors.ModelServerFailed:
        """The last error of those that failed."""
        failed = [one for one in self._all if one.error is not None]
        if not failed:
            return errors.Unavailable("No model server is ready.")
        last = max(failed, key=lambda one: one.failed_at).error
        assert last is not None
        return last

    def took(self) -> None:
        """Tell those that wait: an endpoint has taken a request."""
        self._given_up_at = -math.inf
        self._tell()

    def give_up(self) -> None:
        """Tell those that wait: the circuit of the model opens, and they need not wait here any more."""
        self._given_up_at = time.monotonic()
        self.circuit_seen = True
        self._tell()

    def given_up_since(self, moment: float) -> bool:
        """Whether the circuit was opened since then, as far as this process knows, and no endpoint answered after."""
        return self._given_up_at >= moment

    def _tell(self) -> None:
        self._news.set()
        self._news.clear()

    async def rest(self, until: float) -> None:
        """Wait until then, by the monotonic clock, or until there is news of an endpoint or of the circuit."""
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await self._news.wait()
        except TimeoutError:
            return


def retry_after_s(error: errors.ModelServerFailed) -> float:
    """For how long the model server asked to be left alone, within reason; 0 if it did not."""
    return min(getattr(error, "retry_after_s", None) or 0.0, RETRY_AFTER_LIMIT_S)
