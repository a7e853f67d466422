"""Token buckets in Redis for the credits of projects, one per project and model; lost ones are rebuilt from Postgres.

Redis is only a cache: a bucket that is missing, or that may be out of date, is rebuilt from the usage of the last
minute. While Redis is unavailable, admission counts that usage in Postgres itself.
"""

import logging
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import redis

from core.allowance import Allowance, Cost, Meter, Settlement
from core.breaker import Breaker
from core.config.limits import Limits
from core.notify import redis_clients

log = logging.getLogger(__name__)

# An unused bucket is full again long before it expires, and a missing bucket is rebuilt.
_BUCKET_TTL_MS = 3_600_000
# Seconds for which Redis remembers that a correction was applied. A sweeper may die between a correction and its mark
# in Postgres; the next one retries within seconds. A correction that is applied twice after this time has no effect
# beyond a minute, because the bucket refills.
_SETTLED_TTL_S = 600

# The scripts use only the clock of Redis, so the clocks of the processes need not agree.
_BUCKET = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local held = redis.call('HMGET', KEYS[1], 'requests', 'tokens', 'at')
local at = tonumber(held[3])
local rate = {tonumber(ARGV[1]), tonumber(ARGV[2])}
local amount = {tonumber(ARGV[3]), tonumber(ARGV[4])}
local function level(i, top)
    local filled = (tonumber(held[i]) or rate[i]) + math.max(0, now - (at or now)) * rate[i] / 60000000
    return math.min(rate[i], filled, top or rate[i])
end
local function keep(levels)
    local full = 0
    for i, name in ipairs({'requests', 'tokens'}) do
        if rate[i] > 0 then
            redis.call('HSET', KEYS[1], name, string.format('%.6f', levels[i]))
            full = math.max(full, (rate[i] - levels[i]) / rate[i] * 60000)
        end
    end
    redis.call('HSET', KEYS[1], 'at', string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(tonumber(ARGV[5]), full + 60000)))
end
"""
# Take from both levels or from neither. ARGV 6 and 7: upper bounds of the levels, if Redis may be out of date.
_TAKE = (
    _BUCKET
    + """
local top = {tonumber(ARGV[6]), tonumber(ARGV[7])}
if not at and not top[1] then return {'unknown'} end
local levels, wait, short = {0, 0}, 0, 0
for i = 1, 2 do
    if rate[i] > 0 then
        levels[i] = level(i, top[i])
        local missing = amount[i] - levels[i]
        if amount[i] > 0 and missing > 0.000001 and missing / rate[i] * 60000 > wait then
            wait, short = missing / rate[i] * 60000, i
        end
    end
end
if short == 0 then
    levels = {levels[1] - amount[1], levels[2] - amount[2]}
end
if top[1] or (short == 0 and amount[1] > 0) then keep(levels) end
return {short == 0 and 'taken' or 'short', tostring(levels[1]), tostring(levels[2]), math.ceil(wait), short}
"""
)
# Add to both levels. A missing bucket is not created: it will be rebuilt from Postgres, which includes this change.
_ADD = (
    _BUCKET
    + """
if at then
    local levels = {0, 0}
    for i = 1, 2 do
        if rate[i] > 0 then levels[i] = math.min(rate[i], level(i) + amount[i]) end
    end
    keep(levels)
end
"""
)
# Return tokens that a response was overcharged, or take those it was undercharged. KEYS 2: the charge that was last
# applied for the response, which takes precedence over the one the caller has read (ARGV 6). ARGV 7: the new charge.
# ARGV 8: seconds for which KEYS 2 is kept.
_SETTLE = (
    _BUCKET
    + """
local applied = tonumber(redis.call('GET', KEYS[2]) or ARGV[6])
redis.call('SET', KEYS[2], ARGV[7], 'EX', ARGV[8])
if at and rate[2] > 0 then
    keep({level(1), math.min(rate[2], level(2) + applied - tonumber(ARGV[7]))})
end
"""
)


@dataclass(frozen=True)
class Taken:
    """The result of taking credits from a bucket.

    Args:
        allowance: the remaining credits.
        wait_s: seconds until the bucket holds enough; 0 if the credits were taken.
        short_of: `requests` or `tokens` if the bucket held too few; None if the credits were taken.
    """

    allowance: Allowance
    wait_s: float = 0
    short_of: str | None = None


class Credits:
    """Takes, returns and corrects credits. An unavailable Redis is reported as a result, never as an exception."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis_clients.command_client(redis_url, retry_lost=True, decode=True)
        self._breaker = Breaker()
        self._take = self._redis.register_script(_TAKE)
        self._add = self._redis.register_script(_ADD)
        self._settle = self._redis.register_script(_SETTLE)
        self._lock = threading.Lock()
        self._failures = 0
        self._certain: dict[str, int] = {}  # by bucket: `_failures` when it was last bounded by Postgres

    def take(
        self, project_id: str, model: str, limits: Limits, cost: Cost, *, lately: Callable[[], Cost]
    ) -> Taken | None:
        """Take `cost`, all or nothing.

        Args:
            lately: returns the usage of the last minute from Postgres; called only if the bucket is missing or may be
                out of date.

        Returns:
            The result; None while Redis is unavailable.
        """
        key = _bucket(project_id, model)
        failures = self._failures
        uncertain = self._certain.get(key, 0) < failures
        answer = self._ask_take(key, limits, cost, lately() if uncertain and self._breaker.rested else None)
        if answer is not None and answer[0] == "unknown":
            answer = self._ask_take(key, limits, cost, lately())
        if answer is None:
            return None
        if uncertain:
            self._certain[key] = failures
        return _taken(limits, answer)

    def _ask_take(self, key: str, limits: Limits, cost: Cost, lately: Cost | None) -> list[Any] | None:
        tops = ["", ""]
        if lately is not None:
            tops = [
                str(max(0, (limits.requests_per_minute or 0) - lately.requests)),
                str(max(0, (limits.tokens_per_minute or 0) - lately.tokens)),
            ]
        answer: list[Any] | None = self._run(
            lambda: self._take([key], [*_rates(limits), cost.requests, cost.tokens, _BUCKET_TTL_MS, *tops])
        )
        return answer

    def give_back(self, project_id: str, model: str, limits: Limits, cost: Cost) -> None:
        """Return the credits of a create that was not stored; without Redis, the bucket refills within a minute."""
        key = _bucket(project_id, model)
        self._run(lambda: self._add([key], [*_rates(limits), cost.requests, cost.tokens, _BUCKET_TTL_MS]))

    def settle(self, settlements: Iterable[tuple[Settlement, Limits]]) -> bool:
        """Correct buckets by the actual usage of responses; each settlement is applied once, even if it is repeated.

        Returns:
            False if Redis is unavailable, so that it is unknown which corrections were applied.
        """

        def apply() -> bool:
            with self._redis.pipeline(transaction=False) as pipeline:
                for one, limits in settlements:
                    keys = [_bucket(one.project_id, one.model), f"backburner:charged:{one.response_id}"]
                    amounts = [*_rates(limits), 0, 0, _BUCKET_TTL_MS, one.charged, one.used, _SETTLED_TTL_S]
                    self._settle(keys, amounts, client=pipeline)
                pipeline.execute()
            return True

        return bool(self._run(apply))

    def _run(self, call: Callable[[], Any]) -> Any:
        """Return the answer of Redis; None if Redis is unavailable."""
        try:
            with self._breaker.trying(redis.RedisError) as may_try:
                return call() if may_try else None
        except redis.RedisError as error:
            with self._lock:
                self._failures += 1
            log.warning("cannot reach the token buckets", extra={"cause": repr(error)})
            return None

    def close(self) -> None:
        self._redis.close()


def _bucket(project_id: str, model: str) -> str:
    return f"backburner:credits:{project_id}:{model}"


def _rates(limits: Limits) -> list[int]:
    return [limits.requests_per_minute or 0, limits.tokens_per_minute or 0]


def _taken(limits: Limits, answer: list[Any]) -> Taken:
    state, requests, tokens, wait_ms, short = answer
    allowance = allowance_of(limits, float(requests), float(tokens))
    if state == "taken":
        return Taken(allowance)
    return Taken(allowance, max(1, int(wait_ms)) / 1000, "requests" if short == 1 else "tokens")


def allowance_of(limits: Limits, requests: float, tokens: float) -> Allowance:
    """Return the allowance with this many requests and tokens left; limits that are not set are None."""
    return Allowance(_meter(limits.requests_per_minute, requests), _meter(limits.tokens_per_minute, tokens))


def _meter(limit: int | None, left: float) -> Meter | None:
    return None if limit is None else Meter(limit, left, math.ceil((limit - left) / limit * 60_000) / 1000)
