"""Creates responses that stay in progress: their model sends all of its output but never ends its response.

The responses belong to the project without limits, because its create requests are batched and take half the time.
"""

from bench import load
from bench.load import Requests, wire
from bench.whole.config import UNLIMITED
from bench.whole.system import System
from bench.whole.waiting import wait_until

_TEXT = "Say something about the weather in a few words. " * 8
_CONNECTIONS = 64
_TIMEOUT_S = 60


def start_running(system: System, count: int) -> list[str]:
    """Start `count` more responses and wait until their output is written; return the IDs of all responses in progress.

    Raises:
        load.LoadError: a create request was rejected.
        TimeoutError: the responses are not running within `_TIMEOUT_S` seconds.
    """
    expected_count = system.count_responses("in_progress") + count
    body = {"model": UNLIMITED.hanging_model, "input": _TEXT, "background": True}
    payload = wire.post_request("/v1/responses", body, system.keys[UNLIMITED.name])
    load.run(Requests(system.port, [payload], _CONNECTIONS, seconds=_TIMEOUT_S, count=count))
    wait_until(
        lambda: _count_with_text(system) >= expected_count, f"{expected_count} responses in progress", _TIMEOUT_S
    )
    return [str(row[0]) for row in system.sql("select id from responses where status = 'in_progress'")]


def _count_with_text(system: System) -> int:
    """Count the responses in progress whose event log contains text."""
    ((count,),) = system.sql(
        "select count(distinct response_id) from response_events join responses on responses.id = response_id"
        " where status = 'in_progress' and tokens > 0"
    )
    return int(count)
