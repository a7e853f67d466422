"""Compares streams of the system with those of the model server (first token) and of the bare relay F2."""

from statistics import median

from bench import cpu, load, shapes
from bench.load import Figures, Streams, wire
from bench.run import Run
from bench.targets import Row, build_ratio_row
from bench.whole.chat_streams import read_chat_streams
from bench.whole.config import LIMITED, SHAPE, paced_shape
from bench.whole.shared_system import use_system
from bench.whole.slices import ProjectLoad
from bench.whole.system import System
from bench.whole.targets import CLIENTS, row_name

# A stream contains each token in a delta and again in each of the four events that end the response.
_COPIES_PER_TOKEN = 5
_RELAYED_STREAMS = 64
# Minimum number of streams in a measurement of a floor.
_MIN_STREAMS = 60


def measure(run: Run) -> None:
    """Add the rows for streams."""
    with use_system(run) as system:
        streams = ProjectLoad(run, system, LIMITED, ["stream"])
        streams.run_closed(max(CLIENTS))
        for clients in CLIENTS:
            _measure_latencies(run, streams, clients)
        _measure_tokens_per_s(run, system)


def _measure_latencies(run: Run, streams: ProjectLoad, clients: int) -> None:
    """Add the rows for the first event and the first token, compared with the relay and the model server."""
    costs: list[dict[str, float]] = []
    floors = run.interleave(
        times=run.sizes.whole_repetitions,
        direct=lambda: (
            read_chat_streams(run.servers.model_server.port, SHAPE, max(_MIN_STREAMS, 4 * clients), clients).p50_ms
        ),
        relay=lambda: _read_relayed_streams(run, costs, SHAPE, max(_MIN_STREAMS, 4 * clients), clients).p50_ms,
    )
    slices = [streams.run_closed(clients) for _ in floors["relay"]]
    first_events, first_tokens = (
        [result.figures.latency_ms(name, 0.5) for result in slices] for name in ("first event", "first token")
    )
    run.add(Row(row_name("first event", clients), first_events, floors["relay"]))
    if clients == 1:
        added_ms = [product_ms - floor_ms for product_ms, floor_ms in zip(first_tokens, floors["direct"], strict=True)]
        run.add(Row(row_name("first token", 1), added_ms, floors["direct"]))
    run.extra_figures[f"{row_name('first token', clients)}: ms p50, ours, F2, model server"] = ", ".join(
        f"{median(latencies):.3g}" for latencies in (first_tokens, floors["relay"], floors["direct"])
    )
    run.record_cpu_time(row_name("stream", clients), [result.all_us for result in slices])
    run.record_cpu_time(row_name("F2, stream", clients), costs)


def _read_relayed_streams(run: Run, costs: list[dict[str, float]], shape: str, count: int, clients: int) -> Figures:
    """Read streams through the bare relay; append the processor time per stream to `costs`."""
    with cpu.measure_cpu_time({"relay": run.servers.pids["floor-relay"]}) as cpu_time:
        figures = read_chat_streams(run.floor_relay_port, shape, count, clients)
    costs.append(cpu_time.per_request_us(count))
    return figures


def _measure_tokens_per_s(run: Run, system: System) -> None:
    """Add the row for tokens/s of many concurrent streams."""
    shape = paced_shape(run.sizes)
    rates = run.interleave(
        times=run.sizes.whole_repetitions,
        product=lambda: _tokens_per_s(_read_paced_streams(system), _COPIES_PER_TOKEN, shape),
        floor=lambda: _tokens_per_s(
            _read_relayed_streams(run, [], shape, _RELAYED_STREAMS, _RELAYED_STREAMS), 1, shape
        ),
    )
    run.add(build_ratio_row("whole: relay", rates["product"], rates["floor"]))


def _read_paced_streams(system: System) -> Figures:
    body = {"model": LIMITED.paced_model, "input": "Say something.", "stream": True}
    payload = wire.post_request("/v1/responses", body, system.keys[LIMITED.name])
    return load.run(
        Streams(system.port, [payload] * _RELAYED_STREAMS, _RELAYED_STREAMS, marker=shapes.MARKER, end="[DONE]")
    )


def _tokens_per_s(figures: Figures, copies: int, shape_name: str) -> float:
    """Return the tokens per second of streams in which each token occurs `copies` times.

    Raises:
        load.LoadError: a token is missing.
    """
    shape = shapes.find_shape(shape_name)
    assert shape is not None
    token_count = shape.tokens * figures.count
    if figures.tokens != copies * token_count:
        raise load.LoadError(
            f"{figures.count} streams of {copies} x {shape.tokens} tokens had {figures.tokens} tokens."
        )
    return token_count / figures.seconds
