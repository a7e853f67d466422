"""A session of this checkout with all of its servers."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.compare import session
from bench.compare.sizes import QUICK, SIZES, left_out
from bench.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run as a session has it, with all sizes at their minimum."""
    sizes = replace(QUICK, slice_s=1, warm_s=0.3, trips=2)
    with bench.prepared(tmp_path_factory.mktemp("session"), sizes, lambda _: None) as run:
        run.floors_once = True
        yield run


def test_a_measurement_has_the_measured_quantities_and_repeats_no_floor(run: Run) -> None:
    first = session.measured(run, "submit")
    between = session.measured(run, "cancel")  # leaves a running worker, which submits must not have
    second = session.measured(run, "submit")

    units = {figure.name: (figure.unit, figure.higher_is_better) for figure in second.figures}
    assert units == {
        "submit": ("requests/s", True),
        "submit p99": ("ms", False),
        "submit p50, 1 client": ("ms", False),
        "submit: processor time": ("us, all processes", False),
    }
    assert all(figure.value > 0 for figure in second.figures)
    assert (first.error, between.error, second.error) == ("", "", "")
    assert (first.once_s > 0.4, second.once_s) == (True, 0)
    assert [one.floor for one in first.figures[::2]] == [one.floor for one in second.figures[::2]]


def test_a_measure_that_fails_says_why_and_the_session_goes_on(run: Run) -> None:
    failed = session.measured(run, "no-such-measure")

    assert (failed.figures, failed.error) == ([], "KeyError: 'no-such-measure'")
    assert session.measured(run, "statements").error == ""


@pytest.mark.parametrize("size", SIZES)
def test_what_a_session_leaves_out_is_a_measure_with_a_reason(size: str) -> None:
    assert set(left_out(size)) < set(bench.MEASURES)
    assert all(left_out(size).values())


def test_only_its_own_lines_are_on_a_sessions_standard_output() -> None:
    program = (
        "import os\n"
        "from bench.compare import session\n"
        "answers = session._take_standard_output()\n"
        "print('from a measure', flush=True)\n"
        "os.system('echo from its child')\n"
        "session._send(answers, session.Measurement('poll', 1, 0, []))\n"
    )
    root = Path(bench.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True)

    assert done.stdout == '{"measure":"poll","seconds":1,"once_s":0,"figures":[],"error":""}\n'
    assert done.stderr == "from a measure\nfrom its child\n"
