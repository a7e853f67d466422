"""Mixed load at a fixed rate; latencies are measured from the scheduled start of each response."""

from bench.run import Run
from bench.targets import Row
from bench.whole.config import LIMITED
from bench.whole.lending import lent
from bench.whole.slices import Load, latencies


def measure(run: Run) -> None:
    """Add the rows of open arrival."""
    per_s = run.sizes.whole_per_s
    with lent(run) as system:
        load = Load(run, system, LIMITED)
        load.closed(1)
        slices = run.interleaved(
            times=run.sizes.whole_repetitions, path=lambda: load.open(per_s, run.sizes.whole_arrivals_s)
        )["path"]
        found = [one.figures for one in slices]
        run.add(Row("whole: open arrival, p50", [one.ms("foreground", 0.5) for one in found]))
        run.add(Row("whole: open arrival, p99", [one.ms("foreground", 0.99) for one in found]))
        run.note_cpu(f"whole: response, {per_s:g} begin each second", [one.all_us for one in slices])
        run.beside[f"whole: {per_s:g} begin each second: ms p50 and p99"] = latencies(slices)
