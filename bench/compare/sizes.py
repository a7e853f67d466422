"""How much a session measures: one repetition at a time, small enough for five rounds of two trees."""

from dataclasses import replace

from bench import run
from bench.run import Sizes

# The queue of `growth` is not among the rows, so it is not filled. Of the whole system's load, one client is slow to
# measure, and 64 are close to 16.
QUICK = replace(run.QUICK, repetitions=1, long_repetitions=1, waiting=0, whole_clients=(16,))
# A million stored responses would take longer to make than all rounds together.
FULL = replace(run.FULL, repetitions=1, long_repetitions=1, waiting=0, stored=(1_000, 100_000))
SIZES: dict[str, Sizes] = {"quick": QUICK, "full": FULL}

_NO_ROW = "no row"
_NOT_MEASURED = "reports what `make chaos` found"
_LONG = "measured by the full form only"
# What would not fit into ten minutes beside the rest, five times for each tree.
_FULL_ONLY = (
    *("growth", "many"),
    *("whole-flower", "whole-arrival", "whole-streams", "whole-polls", "whole-memory"),
)


def left_out(size: str) -> dict[str, str]:
    """The measures of the benchmark that a session leaves out, with the reason."""
    never = dict.fromkeys(("levels", "statements", "memory", "scale"), _NO_ROW) | {"faults": _NOT_MEASURED}
    return never | dict.fromkeys(_FULL_ONLY, _LONG) if size == "quick" else never
