"""Token buckets in Redis for the credits of projects, one bucket per project and model.

Redis is only a cache: a bucket that is missing or may be out of date is rebuilt from the usage of the last minute in
Postgres. While Redis is unavailable, admission sums this usage without a bucket.
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

# An unused bucket is full again long before it expires, so nothing is lost.
_BUCKET_TTL_MS = 3_600_000
# Time for which Redis remembers that a correction was applied. A sweeper may die between a correction and the record of
# it in Postgres, and the next sweeper retries within seconds. If a correction is applied again after this time, the
# error disappears within a minute, because the bucket refills.
_CORRECTION_TTL_S = 600

# Functions that all scripts share. The scripts use only the clock of Redis, so the clocks of the processes may differ.
# ARGV 1 and 2: the limits per minute, 0 for no limit. ARGV 3 and 4: the requests and tokens to take or to add. ARGV 5:
# minimum time to live of the bucket, in milliseconds.
_BUCKET_FUNCTIONS = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local bucket = redis.pcall('HMGET', KEYS[1], 'requests', 'tokens', 'at')
local function is_number_below(text, limit)
    local number = tonumber(text)
    return number and number > -limit and number < limit
end
-- Another program may have changed the bucket: then it is missing. The clock may have been set back by a minute.
if bucket.err or not is_number_below(bucket[3], now + 60000000)
        or not is_number_below(bucket[1] or 0, 1e12) or not is_number_below(bucket[2] or 0, 1e12) then
    if bucket.err or bucket[3] then redis.call('DEL', KEYS[1]) end
    bucket = {false, false, false}
end
local updated_at = tonumber(bucket[3])
local rate = {tonumber(ARGV[1]), tonumber(ARGV[2])}
local amount = {tonumber(ARGV[3]), tonumber(ARGV[4])}
local function level(i, upper_bound)
    local refilled = (tonumber(bucket[i]) or rate[i]) + math.max(0, now - (updated_at or now)) * rate[i] / 60000000
    return math.min(rate[i], refilled, upper_bound or rate[i])
end
local function write_levels(levels)
    local full_after_ms = 0
    for i, name in ipairs({'requests', 'tokens'}) do
        if rate[i] > 0 then
            redis.call('HSET', KEYS[1], name, string.format('%.6f', levels[i]))
            full_after_ms = math.max(full_after_ms, (rate[i] - levels[i]) / rate[i] * 60000)
        end
    end
    redis.call('HSET', KEYS[1], 'at', string.format('%.0f', now))
    redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(tonumber(ARGV[5]), full_after_ms + 60000)))
end
"""
# Take from both levels or from neither of them. ARGV 6 and 7: upper bounds of the levels, if Redis may be out of date.
_TAKE_SCRIPT = (
    _BUCKET_FUNCTIONS
    + """
local upper_bounds = {tonumber(ARGV[6]), tonumber(ARGV[7])}
if not updated_at and not upper_bounds[1] then return {'unknown'} end
local levels, wait_ms, exhausted = {0, 0}, 0, 0
for i = 1, 2 do
    if rate[i] > 0 then
        levels[i] = level(i, upper_bounds[i])
        local missing = amount[i] - levels[i]
        if amount[i] > 0 and missing > 0.000001 and missing / rate[i] * 60000 > wait_ms then
            wait_ms, exhausted = missing / rate[i] * 60000, i
        end
    end
end
if exhausted == 0 then
    levels = {levels[1] - amount[1], levels[2] - amount[2]}
end
if upper_bounds[1] or (exhausted == 0 and amount[1] > 0) then write_levels(levels) end
return {exhausted == 0 and 'taken' or 'short', tostring(levels[1]), tostring(levels[2]), math.ceil(wait_ms), exhausted}
"""
)
# Add to both levels. A missing bucket is not created, because it will be rebuilt from Postgres with this change.
_ADD_SCRIPT = (
    _BUCKET_FUNCTIONS
    + """
if updated_at then
    local levels = {0, 0}
    for i = 1, 2 do
        if rate[i] > 0 then levels[i] = math.min(rate[i], level(i) + amount[i]) end
    end
    write_levels(levels)
end
"""
)
# Return the tokens that a response was charged in excess, or take the missing ones. KEYS 2: the last charge that was
# applied for the response, which takes precedence over the charge that the caller has read (ARGV 6). ARGV 7: the new
# charge. ARGV 8: time to live of KEYS 2, in seconds.
_SETTLE_SCRIPT = (
    _BUCKET_FUNCTIONS
    + """
local charged = redis.pcall('GET', KEYS[2])
local applied_charge = tonumber(charged) or tonumber(ARGV[6])
redis.call('SET', KEYS[2], ARGV[7], 'EX', ARGV[8])
if updated_at and rate[2] > 0 then
    write_levels({level(1), math.min(rate[2], level(2) + applied_charge - tonumber(ARGV[7]))})
end
"""
)


@dataclass(frozen=True)
class TakeResult:
    """The result of taking credits from a bucket.

    Args:
        allowance: the remaining credits.
        wait_s: seconds until the bucket has enough credits; 0 if the credits were taken.
        exhausted_limit: `requests` or `tokens` if the bucket had too few; None if the credits were taken.
    """

    allowance: Allowance
    wait_s: float = 0
    exhausted_limit: str | None = None


class Credits:
    """Takes, returns and corrects credits. No method raises an error if Redis is unavailable."""

    def __init__(self, redis_url: str) -> None:
        self._redis = redis_clients.command_client(redis_url, retry_if_lost=True, decode_responses=True)
        self._breaker = Breaker()
        self._take_script = self._redis.register_script(_TAKE_SCRIPT)
        self._add_script = self._redis.register_script(_ADD_SCRIPT)
        self._settle_script = self._redis.register_script(_SETTLE_SCRIPT)
        self._lock = threading.Lock()
        self._failure_count = 0
        # By bucket: the value of `_failure_count` when the bucket was last compared with Postgres.
        self._checked_failure_counts: dict[str, int] = {}

    def take(
        self, project_id: str, model: str, limits: Limits, cost: Cost, *, recent_cost: Callable[[], Cost]
    ) -> TakeResult | None:
        """Take `cost`, all or nothing.

        Args:
            recent_cost: reads the credits taken in the last minute from Postgres; called only if the bucket is missing
                or may be out of date.

        Returns:
            The result; None while Redis is unavailable.
        """
        key = _bucket_key(project_id, model)
        failure_count = self._failure_count
        may_be_stale = self._checked_failure_counts.get(key, 0) < failure_count
        cost_bound = recent_cost() if may_be_stale and self._breaker.allows_call else None
        reply = self._run_take(key, limits, cost, cost_bound)
        if reply is not None and reply[0] == "unknown":
            reply = self._run_take(key, limits, cost, recent_cost())
        if reply is None:
            return None
        if may_be_stale:
            self._checked_failure_counts[key] = failure_count
        return _parse_take_reply(limits, reply)

    def _run_take(self, key: str, limits: Limits, cost: Cost, recent_cost: Cost | None) -> list[Any] | None:
        upper_bounds = ["", ""]
        if recent_cost is not None:
            upper_bounds = [
                str(max(0, (limits.requests_per_minute or 0) - recent_cost.requests)),
                str(max(0, (limits.tokens_per_minute or 0) - recent_cost.tokens)),
            ]
        reply: list[Any] | None = self._call_redis(
            lambda: self._take_script(
                [key], [*_rates(limits), cost.requests, cost.tokens, _BUCKET_TTL_MS, *upper_bounds]
            )
        )
        return reply

    def give_back(self, project_id: str, model: str, limits: Limits, cost: Cost) -> None:
        """Return the credits of a create request without a stored response.

        While Redis is unavailable, nothing is returned; the bucket is full again within a minute.
        """
        key = _bucket_key(project_id, model)
        self._call_redis(lambda: self._add_script([key], [*_rates(limits), cost.requests, cost.tokens, _BUCKET_TTL_MS]))

    def settle(self, settlements: Iterable[tuple[Settlement, Limits]]) -> bool:
        """Correct buckets according to the usage of responses; a repeated settlement is applied only once.

        Returns:
            False if Redis is unavailable; it is then unknown which corrections were applied.
        """

        def apply_settlements() -> bool:
            with self._redis.pipeline(transaction=False) as pipeline:
                for settlement, limits in settlements:
                    bucket_key = _bucket_key(settlement.project_id, settlement.model)
                    keys = [bucket_key, f"backburner:charged:{settlement.response_id}"]
                    charges = [settlement.charged, settlement.used]
                    arguments = [*_rates(limits), 0, 0, _BUCKET_TTL_MS, *charges, _CORRECTION_TTL_S]
                    self._settle_script(keys, arguments, client=pipeline)
                pipeline.execute()
            return True

        return bool(self._call_redis(apply_settlements))

    def _call_redis(self, call: Callable[[], Any]) -> Any:
        """Call Redis and return its reply; None if Redis is unavailable."""
        try:
            with self._breaker.guard_call(redis.RedisError) as may_try:
                return call() if may_try else None
        except redis.RedisError as error:
            with self._lock:
                self._failure_count += 1
            log.warning("cannot reach the token buckets", extra={"cause": repr(error)})
            return None

    def close(self) -> None:
        self._redis.close()


def _bucket_key(project_id: str, model: str) -> str:
    return f"backburner:credits:{project_id}:{model}"


def _rates(limits: Limits) -> list[int]:
    """Return the limits per minute as arguments of the scripts; 0 means no limit."""
    return [limits.requests_per_minute or 0, limits.tokens_per_minute or 0]


def _parse_take_reply(limits: Limits, reply: list[Any]) -> TakeResult:
    state, requests, tokens, wait_ms, exhausted_index = reply
    allowance = build_allowance(limits, float(requests), float(tokens))
    if state == "taken":
        return TakeResult(allowance)
    return TakeResult(allowance, max(1, int(wait_ms)) / 1000, "requests" if exhausted_index == 1 else "tokens")


def build_allowance(limits: Limits, requests: float, tokens: float) -> Allowance:
    """Build the allowance from the remaining requests and tokens; limits that are not set are None."""
    return Allowance(_meter(limits.requests_per_minute, requests), _meter(limits.tokens_per_minute, tokens))


def _meter(limit: int | None, remaining: float) -> Meter | None:
    if limit is None:
        return None
    return Meter(limit, remaining, math.ceil((limit - remaining) / limit * 60_000) / 1000)
