"""The targets of the complete system as data, from which `bench/targets.py` builds `Target` objects."""

from typing import NamedTuple

# Numbers of concurrent clients under closed arrival.
CLIENTS = (1, 16, 64)


class Aim(NamedTuple):
    """The name of a figure, and the fields of its `bench.targets.Target`."""

    name: str
    limit: float
    is_minimum: bool
    unit: str
    floor_unit: str = ""


def row_name(figure: str, clients: int) -> str:
    """Return the name of the benchmark row for a figure with this number of clients."""
    return f"whole: {figure}, {clients} {'client' if clients == 1 else 'clients'}"


def _max_aim(name: str, limit: float, unit: str, floor_unit: str = "") -> Aim:
    return Aim(name, limit, False, unit, floor_unit)


def _min_aim(name: str, limit: float, unit: str, floor_unit: str = "") -> Aim:
    return Aim(name, limit, True, unit, floor_unit)


# Limits of the first event, by number of clients.
_FIRST_EVENT_MS = {1: 5, 16: 15, 64: 60}
# Limits of p50 and p99 of the added latency, by number of clients. For one client they are goals; for 16 clients they
# follow from the goal of 5 ms of processor time per response on two cores.
_ADDED_MS = {1: (6, 15), 16: (40, 100)}
_LATENCY = "ms more than the model server"

# The limits for the work of Postgres (commits, WAL, statements) are not goals, but the values measured when the rows
# were added, rounded up.
AIMS = (
    *(_max_aim(row_name("processor time", n), 5, "ms per response, all parts but the model") for n in CLIENTS),
    *(
        _max_aim(row_name("processor time over F1", n), 0.8, "x a Celery no-op with events and Flower", "ms")
        for n in CLIENTS
    ),
    *(_max_aim(row_name("limits", n), 1.1, "x the processor time without limits", "ms") for n in CLIENTS),
    _max_aim("whole: Flower on", 1.1, "x the processor time without Flower", "ms"),
    _max_aim("whole: Flower", 0.2, "ms of Flower's processor time per response"),
    _max_aim("whole: commits", 3, "transactions that wrote, per response"),
    _max_aim("whole: WAL", 17, "kB per response"),
    _max_aim("whole: statements", 15, "per response"),
    _max_aim("whole: open arrival, p50", 6, "ms from the scheduled time, foreground"),
    _max_aim("whole: open arrival, p99", 15, "ms from the scheduled time, foreground"),
    *(_max_aim(row_name("added latency p50", n), p50, _LATENCY, "ms, p50") for n, (p50, _) in _ADDED_MS.items()),
    *(_max_aim(row_name("added latency p99", n), p99, _LATENCY, "ms, p99") for n, (_, p99) in _ADDED_MS.items()),
    *(
        _max_aim(row_name("first event", n), _FIRST_EVENT_MS[n], "ms, p50", "ms, p50 of F2's first token")
        for n in CLIENTS
    ),
    _max_aim(row_name("first token", 1), 6, "ms more than the model server, p50", "ms, p50"),
    _min_aim("whole: relay", 0.5, "x the tokens/s of a bare relay (F2)", "tokens/s"),
    *(
        _min_aim(row_name("polls while running", n), 0.5, "x the polls/s of an ended response", "polls/s")
        for n in CLIENTS
    ),
    _max_aim("whole: memory at rest", 300, "MB of PSS, all parts but the model"),
    _max_aim("whole: memory, 1,000 running", 450, "MB of PSS, all parts but the model", "MB at rest"),
    _min_aim("whole: idle streams", 5000, "open in one API process"),
    _max_aim("whole: idle stream", 30, "kB of PSS of the API", "MB without streams"),
)
