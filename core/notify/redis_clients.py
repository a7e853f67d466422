"""The factory of Redis clients, with their timeouts by purpose."""

from dataclasses import dataclass

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry


@dataclass(frozen=True)
class Timeouts:
    """How long a client waits, in seconds.

    Args:
        connect_s: for a connection.
        answer_s: for an answer, or between two messages of a subscription.
    """

    connect_s: float
    answer_s: float


# A request waits for the answer. If Redis is unavailable, the breaker lets one caller per second wait this long.
COMMAND = Timeouts(connect_s=0.5, answer_s=0.5)
# No request waits for the answer, so a slow Redis is tolerated for longer.
BACKGROUND = Timeouts(connect_s=2, answer_s=2)
# A subscription, which is silent most of the time.
LISTENER = Timeouts(connect_s=2, answer_s=5)


def command_client(url: str, *, retry_lost: bool = False, decode: bool = False) -> redis.Redis:
    """A client for commands that requests wait for.

    Args:
        retry_lost: retry once, at once, if the connection was lost; never after a timeout. Otherwise redis-py's own
            retries apply.
        decode: answer with text instead of bytes.
    """
    client = redis.Redis.from_url(
        url,
        socket_connect_timeout=COMMAND.connect_s,
        socket_timeout=COMMAND.answer_s,
        socket_keepalive=True,
        decode_responses=decode,
    )
    if retry_lost:
        client.set_retry(_retry_lost())
    return client


def pooled_client(url: str, *, connections: int) -> redis.Redis:
    """A client for commands of many threads; a thread waits for one of so many connections, as long as for an answer.

    It retries once, at once, if the connection was lost; never after a timeout.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=COMMAND.answer_s,
        socket_connect_timeout=COMMAND.connect_s,
        socket_timeout=COMMAND.answer_s,
        socket_keepalive=True,
        retry=_retry_lost(),
    )
    return redis.Redis(connection_pool=pool)


def listening_client(url: str, *, ping_s: float) -> redis.Redis:
    """A client for a subscription that is pinged after `ping_s` seconds of silence."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=LISTENER.connect_s,
        socket_timeout=LISTENER.answer_s,
        socket_keepalive=True,
        health_check_interval=ping_s,
    )


def async_client(url: str, timeouts: Timeouts, *, retry: bool = True) -> redis.asyncio.Redis:
    """A client for coroutines.

    Args:
        retry: redis-py's own retries apply.
    """
    client = redis.asyncio.Redis.from_url(
        url, socket_connect_timeout=timeouts.connect_s, socket_timeout=timeouts.answer_s
    )
    if not retry:
        client.set_retry(redis.asyncio.retry.Retry(NoBackoff(), 0))
    return client


def _retry_lost() -> Retry:
    return Retry(NoBackoff(), 1, (redis.ConnectionError,))
