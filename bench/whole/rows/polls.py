"""Compares polls of running responses with polls of ended responses, while hundreds of responses are running."""

from bench import load
from bench.load import Requests, wire
from bench.run import Run
from bench.targets import build_ratio_row
from bench.whole import running
from bench.whole.config import UNLIMITED
from bench.whole.shared_system import use_system
from bench.whole.system import System
from bench.whole.targets import CLIENTS, row_name

_WARM_UP_S = 0.1
_SLICE_S = 0.5
_POLLED_RESPONSES = 100


def measure(run: Run) -> None:
    """Add the rows `polls while running`; the running and the ended responses have the same text."""
    with use_system(run) as system:
        rows = system.sql(
            "select id from responses where status = 'completed' and model = %s limit %s",
            UNLIMITED.model,
            _POLLED_RESPONSES,
        )
        ended_ids = [str(row[0]) for row in rows]
        running_ids = running.start_running(system, run.sizes.whole_polled_count)
        for clients in CLIENTS:
            _measure_level(run, system, running_ids, ended_ids, clients)


def _measure_level(run: Run, system: System, running_ids: list[str], ended_ids: list[str], clients: int) -> None:
    rates = run.interleave(
        times=run.sizes.whole_repetitions,
        product=lambda: _polls_per_s(system, running_ids, clients),
        floor=lambda: _polls_per_s(system, ended_ids, clients),
    )
    run.add(build_ratio_row(row_name("polls while running", clients), rates["product"], rates["floor"]))


def _polls_per_s(system: System, ids: list[str], clients: int) -> float:
    key = system.keys[UNLIMITED.name]
    payloads = [wire.get_request(f"/v1/responses/{response_id}", key) for response_id in ids[:_POLLED_RESPONSES]]
    return load.run(Requests(system.port, payloads, clients, seconds=_SLICE_S, warm_up_s=_WARM_UP_S)).per_s
