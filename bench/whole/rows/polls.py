"""Compares polls of running responses with polls of ended ones, both while hundreds of responses are running."""

from bench import load
from bench.load import Requests, wire
from bench.run import Run
from bench.targets import ratios
from bench.whole import running
from bench.whole.config import UNLIMITED
from bench.whole.lending import lent
from bench.whole.system import System
from bench.whole.targets import CLIENTS, of

_WARM_S = 0.1
_SLICE_S = 0.5
_POLLED = 100


def measure(run: Run) -> None:
    """Add the rows `polls while running`; both kinds of responses have the same text."""
    with lent(run) as system:
        stored = system.sql(
            "select id from responses where status = 'completed' and model = %s limit %s", UNLIMITED.model, _POLLED
        )
        finished = [str(found[0]) for found in stored]
        unfinished = running.run(system, run.sizes.whole_polled)
        for clients in CLIENTS:
            _level(run, system, unfinished, finished, clients)


def _level(run: Run, system: System, unfinished: list[str], finished: list[str], clients: int) -> None:
    found = run.interleaved(
        times=run.sizes.whole_repetitions,
        path=lambda: _per_s(system, unfinished, clients),
        floor=lambda: _per_s(system, finished, clients),
    )
    run.add(ratios(of("polls while running", clients), found["path"], found["floor"]))


def _per_s(system: System, ids: list[str], clients: int) -> float:
    key = system.keys[UNLIMITED.project]
    payloads = [wire.get(f"/v1/responses/{response_id}", key) for response_id in ids[:_POLLED]]
    return load.run(Requests(system.port, payloads, clients, seconds=_SLICE_S, warm_s=_WARM_S)).per_s
