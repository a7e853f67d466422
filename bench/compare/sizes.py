"""The sizes of a session's measurements: one repetition each, so that five rounds on two worktrees fit in the time."""

from dataclasses import replace

from bench import run
from bench.run import Sizes

# `waiting_count=0` skips the long queue of `growth`, because its result is not a benchmark row. With --quick, only 16
# clients put load on the complete system: a measurement with one client takes a long time, and the figures for 64
# clients are similar to those for 16.
QUICK = replace(run.QUICK, repetitions=1, long_repetitions=1, waiting_count=0, whole_client_counts=(16,))
# Creating a million stored responses would take longer than all rounds together.
FULL = replace(run.FULL, repetitions=1, long_repetitions=1, waiting_count=0, stored_counts=(1_000, 100_000))
SIZES: dict[str, Sizes] = {"quick": QUICK, "full": FULL}

_NO_ROW = "no benchmark row"
_CHAOS_RESULT = "reports the result of `make chaos`"
_TOO_LONG = "not measured with --quick"
# Measures that are omitted with --quick, so that all other measures fit into ten minutes.
_FULL_ONLY = (
    "growth",
    "many",
    "whole-flower",
    "whole-arrival",
    "whole-streams",
    "whole-polls",
    "whole-memory",
)


def omission_reasons(size: str) -> dict[str, str]:
    """Return the measures of the benchmark that a session omits, with the reasons."""
    reasons = dict.fromkeys(("levels", "statements", "memory", "scale"), _NO_ROW) | {"faults": _CHAOS_RESULT}
    if size == "quick":
        reasons |= dict.fromkeys(_FULL_ONLY, _TOO_LONG)
    return reasons
