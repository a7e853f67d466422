"""Foreground streams: first event, first token relative to the model server, tokens/s relative to a bare relay (F2)."""

from statistics import median

from bench import cpu, load, shapes
from bench.load import Figures, Streams, wire
from bench.run import Run
from bench.targets import Row, ratios
from bench.whole.config import LIMITED, SHAPE, paced_shape
from bench.whole.lending import lent
from bench.whole.slices import Load
from bench.whole.straight import chat
from bench.whole.system import System
from bench.whole.targets import CLIENTS, of

# The text occurs in the deltas, and again in each of the four events that end the response.
_TIMES_OURS = 5
_RELAYED = 64
_STRAIGHT = 60


def measure(run: Run) -> None:
    """Add the rows for streams."""
    with lent(run) as system:
        ours = Load(run, system, LIMITED, ["stream"])
        ours.closed(max(CLIENTS))
        for clients in CLIENTS:
            _firsts(run, ours, clients)
        _relayed(run, system)


def _firsts(run: Run, ours: Load, clients: int) -> None:
    """Add the rows for the first event and the first token, compared with the relay and the model server."""
    costs: list[dict[str, float]] = []
    found = run.interleaved(
        times=run.sizes.whole_repetitions,
        straight=lambda: chat(run.machine.models.port, SHAPE, max(_STRAIGHT, 4 * clients), clients).p50_ms,
        relay=lambda: _relay(run, costs, SHAPE, max(_STRAIGHT, 4 * clients), clients).p50_ms,
    )
    slices = [ours.closed(clients) for _ in found["relay"]]
    tokens = [one.figures.ms("first token", 0.5) for one in slices]
    run.add(Row(of("first event", clients), [one.figures.ms("first event", 0.5) for one in slices], found["relay"]))
    if clients == 1:
        more = [ours_ms - straight_ms for ours_ms, straight_ms in zip(tokens, found["straight"], strict=True)]
        run.add(Row(of("first token", 1), more, found["straight"]))
    run.beside[f"{of('first token', clients)}: ms p50, ours, F2, model server"] = ", ".join(
        f"{median(each):.3g}" for each in (tokens, found["relay"], found["straight"])
    )
    run.note_cpu(of("stream", clients), [one.all_us for one in slices])
    run.note_cpu(of("F2, stream", clients), costs)


def _relay(run: Run, costs: list[dict[str, float]], shape: str, count: int, clients: int) -> Figures:
    """Read streams through the bare relay; append the processor time per stream to `costs`."""
    with cpu.spending({"relay": run.machine.pids["floor-relay"]}) as spent:
        figures = chat(run.relay_port, shape, count, clients)
    costs.append(spent.each_us(count))
    return figures


def _relayed(run: Run, system: System) -> None:
    """Add the row for tokens/s of many concurrent streams."""
    shape = paced_shape(run.sizes)
    found = run.interleaved(
        times=run.sizes.whole_repetitions,
        path=lambda: _tokens_per_s(_paced(system), _TIMES_OURS, shape),
        floor=lambda: _tokens_per_s(_relay(run, [], shape, _RELAYED, _RELAYED), 1, shape),
    )
    run.add(ratios("whole: relay", found["path"], found["floor"]))


def _paced(system: System) -> Figures:
    body = {"model": LIMITED.paced, "input": "Say something.", "stream": True}
    payload = wire.post("/v1/responses", body, system.keys[LIMITED.project])
    return load.run(Streams(system.port, [payload] * _RELAYED, _RELAYED, marker=shapes.MARK, end="[DONE]"))


def _tokens_per_s(figures: Figures, times: int, shape: str) -> float:
    """Tokens per second of streams in which each token occurs `times` times.

    Raises:
        load.Failed: a token is missing.
    """
    known = shapes.named(shape)
    assert known is not None
    whole = known.tokens * figures.count
    if figures.tokens != times * whole:
        raise load.Failed(f"{figures.count} streams of {times} x {known.tokens} tokens had {figures.tokens} tokens.")
    return whole / figures.seconds
