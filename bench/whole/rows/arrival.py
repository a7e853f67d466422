"""Measures mixed load at a fixed rate, with latencies from the scheduled start of each response."""

from bench.run import Run
from bench.targets import Row
from bench.whole.config import LIMITED
from bench.whole.shared_system import use_system
from bench.whole.slices import ProjectLoad, describe_latencies


def measure(run: Run) -> None:
    """Add the rows `open arrival`."""
    rate_per_s = run.sizes.whole_rate_per_s
    with use_system(run) as system:
        load = ProjectLoad(run, system, LIMITED)
        load.run_closed(1)
        slices = run.interleave(
            times=run.sizes.whole_repetitions, product=lambda: load.run_open(rate_per_s, run.sizes.whole_arrival_s)
        )["product"]
        figures = [result.figures for result in slices]
        run.add(Row("whole: open arrival, p50", [mix.latency_ms("foreground", 0.5) for mix in figures]))
        run.add(Row("whole: open arrival, p99", [mix.latency_ms("foreground", 0.99) for mix in figures]))
        run.record_cpu_time(f"whole: response, {rate_per_s:g} begin per second", [result.all_us for result in slices])
        run.extra_figures[f"whole: {rate_per_s:g} begin per second: ms p50 and p99"] = describe_latencies(slices)
