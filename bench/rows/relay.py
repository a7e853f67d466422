"""Compares foreground streams with those of the model server (first token) and of a bare relay (tokens/s)."""

from collections.abc import Callable
from dataclasses import replace
from statistics import median

from bench import cpu, load, shapes
from bench.load import Figures, wire
from bench.run import Run
from bench.targets import Row, build_ratio_row

_SLOW_MODEL = "2-tokens-every-50ms"
TOKEN_INTERVAL_MS = 2
# A stream contains each token in a delta and again in each of the four events that end the response.
_COPIES_PER_TOKEN = 5


def measure(run: Run) -> None:
    """Add the rows `first token` and `relay`."""
    run.deployment.start("worker")
    read_product_streams(run, _SLOW_MODEL, 3, 1)
    latencies = run.interleave(
        floor=run.cache_floor(
            "first token",
            lambda: (
                _read_reference_streams(
                    run.servers.model_server.port, _SLOW_MODEL, run.sizes.round_trip_count // 2, 1
                ).p50_ms
            ),
        ),
        product=lambda: read_product_streams(run, _SLOW_MODEL, run.sizes.round_trip_count // 2, 1).p50_ms,
    )
    product, floor = latencies["product"], latencies["floor"]
    added_ms = [product_ms - floor_ms for product_ms, floor_ms in zip(product, floor, strict=True)]
    run.add(Row("first token", added_ms, floor, raw=product, raw_unit="ms, p50"))
    fast_model = f"{run.sizes.stream_token_count}-tokens-every-{TOKEN_INTERVAL_MS}ms"
    count = run.sizes.stream_count
    costs: list[dict[str, float]] = []
    rates = run.interleave(
        floor=run.cache_floor(
            "relay", lambda: _tokens_per_s(_read_reference_streams(run.floor_relay_port, fast_model, count, count))
        ),
        direct=run.cache_floor(
            "direct",
            lambda: _tokens_per_s(_read_reference_streams(run.servers.model_server.port, fast_model, count, count)),
        ),
        product=lambda: _tokens_per_s(
            _read_and_record_costs(run, costs, lambda: read_product_streams(run, fast_model, count, count))
        ),
    )
    run.add(build_ratio_row("relay", rates["product"], rates["floor"]))
    run.record_cpu_time("relayed token", costs)
    run.extra_figures["tokens/s read directly from the model server"] = round(median(rates["direct"]))
    run.deployment.delete_responses()


def _read_and_record_costs(run: Run, costs: list[dict[str, float]], read_streams: Callable[[], Figures]) -> Figures:
    """Read streams; append the processor time per token to `costs`, in microseconds by process."""
    with cpu.measure_cpu_time(run.deployment.pids) as cpu_time:
        figures = read_streams()
    costs.append(cpu_time.per_request_us(figures.tokens))
    return figures


def _tokens_per_s(figures: Figures) -> float:
    return figures.tokens / figures.seconds


def read_product_streams(run: Run, model: str, count: int, connections: int) -> Figures:
    """Read foreground streams of the product."""
    body = {"model": model, "input": "Say something.", "stream": True}
    payloads = [wire.post_request("/v1/responses", body, run.deployment.key)] * count
    return _read_streams(run.deployment.port, payloads, connections, model, copies=_COPIES_PER_TOKEN)


def _read_reference_streams(port: int, model: str, count: int, connections: int) -> Figures:
    return _read_streams(
        port, [wire.post_request("/v1/chat/completions", shapes.chat_request(model))] * count, connections, model
    )


def _read_streams(port: int, payloads: list[str], connections: int, model: str, *, copies: int = 1) -> Figures:
    """Read streams, and check that no token is missing; each token is sent `copies` times but counted once."""
    figures = load.run(load.Streams(port, payloads, connections, marker=shapes.MARKER, end="[DONE]"))
    shape = shapes.find_shape(model)
    assert shape is not None
    if figures.tokens != copies * shape.tokens * figures.count:
        raise load.LoadError(
            f"{figures.count} streams of {copies} x {shape.tokens} tokens had {figures.tokens} tokens."
        )
    return replace(figures, tokens=figures.tokens // copies)
