"""The sizes of the measurements of a session: one repetition each, small enough for five rounds of two trees."""

from dataclasses import replace

from bench import run
from bench.run import Sizes

# `waiting=0` skips the long-queue part of `growth`, whose result is not a row. The load of the complete system has only
# 16 clients: measuring with one takes long, and the figures for 64 are close.
QUICK = replace(run.QUICK, repetitions=1, long_repetitions=1, waiting=0, whole_clients=(16,))
# Creating a million stored responses would take longer than all rounds together.
FULL = replace(run.FULL, repetitions=1, long_repetitions=1, waiting=0, stored=(1_000, 100_000))
SIZES: dict[str, Sizes] = {"quick": QUICK, "full": FULL}

_NO_ROW = "no row"
_NOT_MEASURED = "reports the result of `make chaos`"
_LONG = "not measured with --quick"
# Measures of which five rounds of both trees would not fit into ten minutes together with the others.
_FULL_ONLY = (
    *("growth", "many"),
    *("whole-flower", "whole-arrival", "whole-streams", "whole-polls", "whole-memory"),
)


def left_out(size: str) -> dict[str, str]:
    """The measures of the benchmark that a session skips, with the reason."""
    never = dict.fromkeys(("levels", "statements", "memory", "scale"), _NO_ROW) | {"faults": _NOT_MEASURED}
    return never | dict.fromkeys(_FULL_ONLY, _LONG) if size == "quick" else never
