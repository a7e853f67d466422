"""The measures of the complete system, by their names on the command line."""

from collections.abc import Callable

from bench.run import Run
from bench.whole.rows import arrival, flower, latency, load, memory, polls, streams

MEASURES: dict[str, Callable[[Run], None]] = {
    "whole-load": load.measure,
    "whole-flower": flower.measure,
    "whole-arrival": arrival.measure,
    "whole-latency": latency.measure,
    "whole-streams": streams.measure,
    "whole-polls": polls.measure,
    "whole-memory": memory.measure,
}
