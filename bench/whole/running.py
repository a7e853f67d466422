"""Creates responses that stay in progress: their model sends all of its output but never ends.

They belong to the project without limits, whose creates are batched into shared statements and take half the time.
"""

from bench import load
from bench.load import Requests, wire
from bench.whole.config import UNLIMITED
from bench.whole.system import System
from bench.whole.waiting import until

_TEXT = "Say something about the weather in a few words. " * 8
_CONNECTIONS = 64
_WITHIN_S = 60


def run(system: System, count: int) -> list[str]:
    """Start `count` more responses and wait until their output is written; return the IDs of all in progress.

    Raises:
        load.Failed: a create was rejected.
        TimeoutError: the responses are not running within `_WITHIN_S` seconds.
    """
    whole = system.count("in_progress") + count
    body = {"model": UNLIMITED.hanging, "input": _TEXT, "background": True}
    payload = wire.post("/v1/responses", body, system.keys[UNLIMITED.project])
    load.run(Requests(system.port, [payload], _CONNECTIONS, seconds=_WITHIN_S, count=count))
    until(lambda: _spoken(system) >= whole, f"{whole} responses in progress", _WITHIN_S)
    return [str(found[0]) for found in system.sql("select id from responses where status = 'in_progress'")]


def _spoken(system: System) -> int:
    """The number of responses in progress with text in their event log."""
    ((count,),) = system.sql(
        "select count(distinct response_id) from response_events join responses on responses.id = response_id"
        " where status = 'in_progress' and tokens > 0"
    )
    return int(count)
