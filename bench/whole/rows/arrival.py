"""Measures mixed load at a fixed rate, with latencies from the scheduled start of each response."""

from bench.run import Run
from bench.targets import Row
from bench.whole.config import LIMITED
from bench.whole.lending import use_system
from bench.whole.slices import Load, describe_latencies


def measure(run: Run) -> None:
    """Add the rows of open arrival."""
    per_s = run.sizes.whole_per_s
    with use_system(run) as system:
        load = Load(run, system, LIMITED)
        load.run_closed(1)
        slices = run.interleave(
            times=run.sizes.whole_repetitions, product=lambda: load.run_open(per_s, run.sizes.whole_arrivals_s)
        )["product"]
        figures = [result.figures for result in slices]
        run.add(Row("whole: open arrival, p50", [mix.latency_ms("foreground", 0.5) for mix in figures]))
        run.add(Row("whole: open arrival, p99", [mix.latency_ms("foreground", 0.99) for mix in figures]))
        run.note_cpu(f"whole: response, {per_s:g} begin each second", [result.all_us for result in slices])
        run.extra_figures[f"whole: {per_s:g} begin each second: ms p50 and p99"] = describe_latencies(slices)
