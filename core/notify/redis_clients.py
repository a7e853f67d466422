"""Factory functions for Redis clients, with timeouts that depend on the purpose of the client."""

from dataclasses import dataclass

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry


@dataclass(frozen=True)
class Timeouts:
    """The timeouts of a client, in seconds.

    Args:
        connect_timeout_s: the timeout for opening a connection.
        answer_timeout_s: the timeout for an answer, such as that to a ping. The subscriptions of workers also ping
            Redis after this time without a message.
    """

    connect_timeout_s: float
    answer_timeout_s: float


# For commands that a request waits for. If Redis is unavailable, the breaker limits the waits to one caller per second.
COMMAND = Timeouts(connect_timeout_s=0.5, answer_timeout_s=0.5)
# For commands that no request waits for, so that a slow Redis can be tolerated for longer.
BACKGROUND = Timeouts(connect_timeout_s=2, answer_timeout_s=2)
# For a subscription, which receives no message most of the time. Pings detect a lost connection.
LISTENER = Timeouts(connect_timeout_s=2, answer_timeout_s=5)


def command_client(url: str, *, retry_if_lost: bool = False, decode_responses: bool = False) -> redis.Redis:
    """Return a client for commands that requests wait for.

    Args:
        retry_if_lost: retry once, immediately, if the connection was lost, but never after a timeout. By default,
            redis-py's own retries apply.
        decode_responses: whether to return text instead of bytes.
    """
    client = redis.Redis.from_url(
        url,
        socket_connect_timeout=COMMAND.connect_timeout_s,
        socket_timeout=COMMAND.answer_timeout_s,
        socket_keepalive=True,
        decode_responses=decode_responses,
    )
    if retry_if_lost:
        client.set_retry(_lost_connection_retry())
    return client


def pooled_client(url: str, *, connections: int) -> redis.Redis:
    """Return a client with a pool of connections for commands of many threads.

    The timeout for a free connection is the same as that for an answer. The client retries once, immediately, if the
    connection was lost, but never after a timeout.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=COMMAND.answer_timeout_s,
        socket_connect_timeout=COMMAND.connect_timeout_s,
        socket_timeout=COMMAND.answer_timeout_s,
        socket_keepalive=True,
        retry=_lost_connection_retry(),
    )
    return redis.Redis(connection_pool=pool)


def listening_client(url: str, *, ping_interval_s: float) -> redis.Redis:
    """Return a client for a subscription; it pings Redis after `ping_interval_s` seconds without a message."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=LISTENER.connect_timeout_s,
        socket_timeout=LISTENER.answer_timeout_s,
        socket_keepalive=True,
        health_check_interval=ping_interval_s,
    )


def async_client(url: str, timeouts: Timeouts, *, retry: bool = True) -> redis.asyncio.Redis:
    """Return a client for coroutines.

    Args:
        retry: whether redis-py's own retries apply.
    """
    client = redis.asyncio.Redis.from_url(
        url, socket_connect_timeout=timeouts.connect_timeout_s, socket_timeout=timeouts.answer_timeout_s
    )
    if not retry:
        client.set_retry(redis.asyncio.retry.Retry(NoBackoff(), 0))
    return client


def _lost_connection_retry() -> Retry:
    return Retry(NoBackoff(), 1, (redis.ConnectionError,))
