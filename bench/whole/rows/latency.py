"""Measures the latency that the system adds to that of the model server, for foreground responses."""

from bench import load
from bench.run import Run
from bench.targets import Row
from bench.whole.chat_streams import read_chat_streams
from bench.whole.config import LIMITED, SHAPE
from bench.whole.shared_system import use_system
from bench.whole.slices import ProjectLoad
from bench.whole.targets import row_name

_CLIENTS = (1, 16)
_QUANTILES = {"p50": 0.5, "p99": 0.99}
# Minimum number of streams read directly from the model server.
_MIN_STREAMS = 60


def measure(run: Run) -> None:
    """Add the rows `added latency`, with one client and with 16 clients."""
    with use_system(run) as system:
        foreground = ProjectLoad(run, system, LIMITED, ["foreground"])
        foreground.run_closed(max(_CLIENTS))
        for clients in _CLIENTS:
            _measure_level(run, foreground, clients)


def _measure_level(run: Run, foreground: ProjectLoad, clients: int) -> None:
    seconds = 2 * run.sizes.whole_slice_s  # p99 needs many samples
    latencies = run.interleave(
        times=run.sizes.whole_repetitions,
        product=lambda: foreground.run_closed(clients, seconds).figures.latencies_ms["foreground"],
        floor=lambda: (
            read_chat_streams(
                run.servers.model_server.port, SHAPE, max(_MIN_STREAMS, 4 * clients), clients
            ).latencies_ms
        ),
    )
    for name, share in _QUANTILES.items():
        product, floor = (
            [load.percentile(samples, share) for samples in latencies[series]] for series in ("product", "floor")
        )
        added_ms = [product_ms - floor_ms for product_ms, floor_ms in zip(product, floor, strict=True)]
        run.add(Row(row_name(f"added latency {name}", clients), added_ms, floor))
