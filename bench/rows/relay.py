"""Compares streams: the first token with that of the model server, and tokens per second with those of a bare relay."""

from collections.abc import Callable
from dataclasses import replace
from statistics import median

from bench import cpu, load, shapes
from bench.load import Figures, wire
from bench.run import Run
from bench.targets import Row, ratios

_SLOW = "2-tokens-every-50ms"
EVERY_MS = 2
# The text occurs in the deltas, and again in each of the four events that end the response.
_TIMES_OURS = 5


def measure(run: Run) -> None:
    """Add the rows `first token` and `relay`."""
    run.deployment.start("worker")
    ours(run, _SLOW, 3, 1)
    found = run.interleaved(
        floor=run.floor("first token", lambda: _theirs(run.machine.models.port, _SLOW, run.sizes.trips // 2, 1).p50_ms),
        path=lambda: ours(run, _SLOW, run.sizes.trips // 2, 1).p50_ms,
    )
    more = [ours - theirs for ours, theirs in zip(found["path"], found["floor"], strict=True)]
    run.add(Row("first token", more, found["floor"], raw=found["path"], raw_unit="ms, p50"))
    fast = f"{run.sizes.stream_tokens}-tokens-every-{EVERY_MS}ms"
    count = run.sizes.streams
    costs: list[dict[str, float]] = []
    found = run.interleaved(
        floor=run.floor("relay", lambda: _per_s(_theirs(run.relay_port, fast, count, count))),
        straight=run.floor("straight", lambda: _per_s(_theirs(run.machine.models.port, fast, count, count))),
        path=lambda: _per_s(_costed(run, costs, lambda: ours(run, fast, count, count))),
    )
    run.add(ratios("relay", found["path"], found["floor"]))
    run.note_cpu("relayed token", costs)
    run.beside["tokens/s straight from the model server"] = round(median(found["straight"]))
    run.deployment.forget()


def _costed(run: Run, costs: list[dict[str, float]], read: Callable[[], Figures]) -> Figures:
    """Read streams, and append the processor time per token to `costs`."""
    with cpu.spending(run.deployment.pids) as spent:
        figures = read()
    costs.append(spent.each_us(figures.tokens))
    return figures


def _per_s(figures: Figures) -> float:
    return figures.tokens / figures.seconds


def ours(run: Run, model: str, count: int, connections: int) -> Figures:
    """Measure foreground streams of the product."""
    body = {"model": model, "input": "Say something.", "stream": True}
    payloads = [wire.post("/v1/responses", body, run.deployment.key)] * count
    return _read(run.deployment.port, payloads, connections, model, times=_TIMES_OURS)


def _theirs(port: int, model: str, count: int, connections: int) -> Figures:
    return _read(port, [wire.post("/v1/chat/completions", shapes.body(model))] * count, connections, model)


def _read(port: int, payloads: list[str], connections: int, model: str, *, times: int = 1) -> Figures:
    """Read streams and check that no token is missing; each token occurs `times` times and is counted once."""
    figures = load.run(load.Streams(port, payloads, connections, marker=shapes.MARK, end="[DONE]"))
    shape = shapes.named(model)
    assert shape is not None
    if figures.tokens != times * shape.tokens * figures.count:
        raise load.Failed(f"{figures.count} streams of {times} x {shape.tokens} tokens had {figures.tokens} tokens.")
    return replace(figures, tokens=figures.tokens // times)
