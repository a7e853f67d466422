"""Measures the latency that the system adds to a foreground response, with one client and with 16."""

from bench import load
from bench.run import Run
from bench.targets import Row
from bench.whole.config import LIMITED, SHAPE
from bench.whole.lending import lent
from bench.whole.slices import Load
from bench.whole.straight import chat
from bench.whole.targets import of

_CLIENTS = (1, 16)
_SHARES = {"p50": 0.5, "p99": 0.99}
# Minimum number of streams read directly from the model server.
_STRAIGHT = 60


def measure(run: Run) -> None:
    """Add the rows `added latency`."""
    with lent(run) as system:
        ours = Load(run, system, LIMITED, ["foreground"])
        ours.closed(max(_CLIENTS))
        for clients in _CLIENTS:
            _level(run, ours, clients)


def _level(run: Run, ours: Load, clients: int) -> None:
    seconds = 2 * run.sizes.whole_slice_s  # p99 requires many samples
    found = run.interleaved(
        times=run.sizes.whole_repetitions,
        path=lambda: ours.closed(clients, seconds).figures.latencies_ms["foreground"],
        floor=lambda: chat(run.machine.models.port, SHAPE, max(_STRAIGHT, 4 * clients), clients).latencies_ms,
    )
    for name, share in _SHARES.items():
        path, floor = ([load.percentile(one, share) for one in found[each]] for each in ("path", "floor"))
        more = [ours_ms - straight_ms for ours_ms, straight_ms in zip(path, floor, strict=True)]
        run.add(Row(of(f"added latency {name}", clients), more, floor))
