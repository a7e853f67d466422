"""Sessions of this checkout, with all of their servers."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.compare import session
from bench.compare.sizes import QUICK, SIZES, omission_reasons
from bench.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run with the options of a session and small sizes."""
    sizes = replace(QUICK, slice_s=1, warm_up_s=0.3, round_trip_count=2)
    with bench.open_run(tmp_path_factory.mktemp("session"), sizes, lambda _: None) as run:
        run.reuse_floors = True
        yield run


def test_a_measurement_contains_the_measured_quantities_and_does_not_repeat_floors(run: Run) -> None:
    first = session.run_measure(run, "submit")
    cancel = session.run_measure(run, "cancel")  # leaves a worker running, which `submit` must stop
    second = session.run_measure(run, "submit")

    units = {figure.name: (figure.unit, figure.higher_is_better) for figure in second.figures}
    assert units == {
        "submit": ("requests/s", True),
        "submit p99": ("ms", False),
        "submit p50, 1 client": ("ms", False),
        "submit: processor time": ("us, all processes", False),
    }
    assert all(figure.value > 0 for figure in second.figures)
    assert (first.error, cancel.error, second.error) == ("", "", "")
    assert first.once_s > 0.4
    assert second.once_s == 0
    assert [figure.floor for figure in first.figures[::2]] == [figure.floor for figure in second.figures[::2]]


def test_the_session_reports_the_error_of_a_measure_and_continues(run: Run) -> None:
    measurement = session.run_measure(run, "no-such-measure")

    assert (measurement.figures, measurement.error) == ([], "KeyError: 'no-such-measure'")
    assert session.run_measure(run, "statements").error == ""


@pytest.mark.parametrize("size", SIZES)
def test_a_session_omits_only_existing_measures_and_gives_a_reason(size: str) -> None:
    assert set(omission_reasons(size)) < set(bench.MEASURES)
    assert all(omission_reasons(size).values())


def test_standard_output_of_a_session_contains_only_lines_of_the_protocol() -> None:
    program = (
        "import os\n"
        "from bench.compare import session\n"
        "replies = session._reserve_standard_output()\n"
        "print('from a measure', flush=True)\n"
        "os.system('echo from a child')\n"
        "session._send(replies, session.Measurement('poll', 1, 0, []))\n"
    )
    root = Path(bench.__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, check=True)

    assert result.stdout == '{"measure":"poll","seconds":1,"once_s":0,"figures":[],"error":""}\n'
    assert result.stderr == "from a measure\nfrom a child\n"
