"""The tools of the benchmark: load generator, model server, measurement of processor time and memory, report, soak."""

import ast
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench import cpu, fill, load, report, shapes
from bench.__main__ import model_names
from bench.curves import scale
from bench.deployment import Deployment
from bench.footprint import Footprint
from bench.load import Requests, Streams, wire
from bench.rows import faults, memory
from bench.run import QUICK, Run
from bench.servers import ModelServer, run_servers
from bench.soak import __main__ as soak
from bench.soak import mixed
from bench.targets import TARGETS, Row, build_ratio_row
from local import ports
from local.home import Home
from local.processes import child
from tests.harness.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    server = ModelServer(ports.free_port())
    with child.running(server.part(), Home.at(tmp_path_factory.mktemp("bench"))):
        yield server


def chat_payload(model: str, tag: str = "") -> str:
    return wire.post_request("/v1/chat/completions", shapes.chat_request(model, tag))


def read_streams(model_server: ModelServer, model: str, count: int, connections: int) -> load.Figures:
    return load.run(
        Streams(model_server.port, [chat_payload(model)] * count, connections, marker=shapes.MARKER, end="[DONE]")
    )


def test_the_load_generator_sends_and_counts_every_request(model_server: ModelServer) -> None:
    figures = load.run(Requests(model_server.port, [wire.get_request("/streams")], connections=7, count=500))

    assert figures.count == len(figures.latencies_ms) == 500
    assert 0 < figures.p50_ms <= figures.p99_ms <= 1000 * figures.seconds
    assert figures.per_s == pytest.approx(500 / figures.seconds)


def test_the_load_generator_stops_on_schedule_and_ignores_the_warm_up(model_server: ModelServer) -> None:
    began_at = time.monotonic()
    figures = load.run(
        Requests(model_server.port, [wire.get_request("/streams")], connections=4, seconds=0.4, warm_up_s=0.2)
    )

    assert 0.2 < figures.seconds < 0.6 < time.monotonic() - began_at
    assert figures.cpu_s > 0


def test_an_unsuccessful_response_is_an_error_of_the_load(model_server: ModelServer) -> None:
    with pytest.raises(load.LoadError, match="status 404"):
        load.run(Requests(model_server.port, [chat_payload("no-such-shape")], connections=1, count=3))


def test_the_model_server_sends_tokens_in_one_piece_or_at_intervals(model_server: ModelServer) -> None:
    model_server.reset()

    unpaced = read_streams(model_server, "20-tokens-at-once", 40, connections=8)
    paced = read_streams(model_server, "11-tokens-every-50ms", 8, connections=8)

    assert (unpaced.count, unpaced.tokens) == (40, 800)
    assert (paced.count, paced.tokens) == (8, 88)
    assert 0.5 <= paced.seconds < 2
    assert paced.p50_ms < 400  # the first token does not wait for the others
    counts = model_server.report()
    assert (counts["open"], counts["max_open"], counts["completed"], counts["aborted"]) == (0, 8, 48, 0)


def test_the_model_server_reports_when_a_connection_was_closed(model_server: ModelServer) -> None:
    model_server.reset()
    payload = chat_payload("1-tokens-at-once-then-hang", "tag-7")
    with pytest.raises(load.LoadError, match="not ended in time"):
        load.run(Streams(model_server.port, [payload], 1, marker=shapes.MARKER, end="[DONE]", seconds=0.5))

    until(lambda: model_server.report()["aborted"] == 1, timeout_s=5)
    stream = model_server.report()["streams"]["tag-7"]
    assert stream["closed_at"] - stream["requested_at"] == pytest.approx(0.5, abs=0.4)
    assert model_server.report()["open"] == 0


def test_a_token_that_is_split_across_two_reads_is_counted_once() -> None:
    pieces = "for piece in (b'HTTP/1.1 200 OK\\r\\n\\r\\nfi', b'rst fir', b'st first', b' [DO', b'NE]'): send(piece)"
    port = ports.free_port()
    program = (
        "import socket, sys, time\n"
        f"listener = socket.create_server(('127.0.0.1', {port}))\n"
        "print('ready', flush=True)\n"
        "connection = listener.accept()[0]\n"
        "connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)\n"
        "send = lambda piece: (connection.sendall(piece), time.sleep(0.05))\n"
        f"{pieces}\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        figures = load.run(Streams(port, [wire.get_request("/")], 1, marker="first", end="[DONE]", seconds=10))

    assert figures.tokens == 3


def test_processor_time_includes_running_and_terminated_children() -> None:
    child_program = "import time\nwhile time.process_time() < 0.3: pass"
    program = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {child_program!r}]); time.sleep(30)"
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        with cpu.measure_cpu_time({"parent": parent.pid}) as cpu_time:
            until(lambda: cpu._cpu_seconds(parent.pid) >= 0.3, timeout_s=20)
            # The processor time of a terminated child belongs to its parent.
            until(lambda: not psutil.Process(parent.pid).children(), timeout_s=20)
        parent.kill()

    assert cpu_time.seconds["parent"] >= 0.25
    assert cpu_time.per_request_us(10)["parent"] >= 25_000


ROW_KEYS = {
    "name",
    "ratio",
    "target",
    "met",
    "floor",
    "spread",
    "unit",
    "raw",
    "raw_spread",
    "raw_unit",
    "higher_is_better",
}


def run_without_servers(rows: list[Row]) -> Run:
    """Create a run with these rows and without servers."""
    return Run(QUICK, None, None, 0, 0, lambda _: None, rows)  # type: ignore[arg-type]


def test_a_report_has_a_row_with_all_keys_for_every_target(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    run = run_without_servers([build_ratio_row(name, [1.0, 3.0, 2.0], [1.0, 1.0, 1.0]) for name in reversed(TARGETS)])

    report.write(run, quick=True, seconds=1, path=path)

    rows = json.loads(path.read_text())["rows"]
    assert [row["name"] for row in rows] == list(TARGETS)
    for row in rows:
        assert set(row) == ROW_KEYS
        assert (row["raw"], row["raw_spread"], row["raw_unit"]) == (2, [1, 3], TARGETS[row["name"]].floor_unit)
        assert (row["ratio"], row["floor"], row["spread"]) == (2, 1, [1, 3])
        assert row["target"] == TARGETS[row["name"]].limit
        assert row["met"] == TARGETS[row["name"]].is_met_by(2)


def test_a_row_contains_the_measured_quantity_and_the_figure_derived_from_it() -> None:
    derived_row = Row("submit p99", [2.0, 3.0], raw=[90.0, 120.0], raw_unit="ms").as_json()
    plain_row = Row("cancel p50", [8.0, 9.0, 7.0]).as_json()

    assert (derived_row["ratio"], derived_row["raw"]) == (2.5, 105)
    assert (derived_row["raw_spread"], derived_row["raw_unit"]) == ([90, 120], "ms")
    assert (plain_row["raw"], plain_row["raw_unit"]) == (8, TARGETS["cancel p50"].unit)
    assert derived_row["higher_is_better"] is False
    assert build_ratio_row("poll", [2.0], [1.0]).as_json()["higher_is_better"] is True


def test_every_target_is_measured_by_a_module_of_rows() -> None:
    source = "".join(path.read_text() for path in (ROOT / "bench" / "rows").glob("*.py"))
    computed_prefixes = ("growth: ", "whole: ")

    assert [name for name in TARGETS if f'"{name}"' not in source and not name.startswith(computed_prefixes)] == []


def test_faults_come_from_the_chaos_report_or_are_reported_as_not_measured(tmp_path: Path) -> None:
    run = run_without_servers([])
    faults.measure(run, tmp_path / "none.json")
    assert run.rows == []
    assert "no report" in str(run.extra_figures["faults"])

    chaos_report = tmp_path / "report.json"
    chaos_report.write_text(json.dumps({"violations": 2}))
    faults.measure(run, chaos_report)

    assert [(row.name, row.figure, row.is_met) for row in run.rows] == [("faults", 2, False)]


def test_only_the_benchmark_installs_the_plotting_library() -> None:
    pins = {path.name: path.read_text() for path in (ROOT / "requirements").glob("*.txt")}

    assert [name for name, text in pins.items() if "matplotlib==" in text] == ["bench.txt"]


def call_arguments(path: str, function: str) -> list[str]:
    """Return the keyword and list arguments of the only call of `function` in a source file, as source text."""
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == function
    ]
    (call,) = calls
    return [
        ast.unparse(argument)
        for argument in (*call.args, *call.keywords)
        if isinstance(argument, ast.List | ast.keyword)
    ]


def test_floors_configure_granian_and_celery_like_the_product() -> None:
    assert call_arguments("bench/floors/web.py", "Granian") == call_arguments("app/serve.py", "MPServer")
    for function in ("app.conf.update", "app.start"):
        expected = call_arguments("worker/consumer/program.py", function)
        assert call_arguments("bench/floors/tasks.py", function) == expected


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run on its own deployment, with the smallest sizes."""
    sizes = replace(QUICK, memory_waiting_count=20, memory_running_count=5, memory_stream_count=3)
    with (
        run_servers(tmp_path_factory.mktemp("tiny")) as servers,
        Deployment(servers, "tiny", 1, sorted({*model_names(sizes), *mixed.MODELS})) as deployment,
    ):
        deployment.start("api", "sweeper")
        yield Run(sizes, servers, deployment, 0, 0, lambda _: None)


def test_memory_is_measured_for_waiting_responses_running_responses_and_streams(small_run: Run) -> None:
    memory.measure(small_run)

    figures = {
        name: float(str(value).split()[0].strip(",").replace(",", ""))
        for name, value in small_run.extra_figures.items()
    }
    assert len(figures) == 8
    assert figures["bytes of a waiting response in Postgres"] > 1000
    assert figures["bytes of a queued Celery message in Valkey"] > 100
    assert figures["bytes of a running response in its worker, of 5"] > 0


def test_the_capacity_of_a_core_includes_the_costs_of_all_processes_of_a_kind() -> None:
    costs = scale.sum_by_kind({"worker": 300, "worker-2": 100, "api": 50, "load generator": 7})

    assert costs == {"worker": 400, "api": 50, "load generator": 7}
    assert scale.describe_capacity(1e6, costs, {"api": 150}) == "API 5,000, worker 2,500, all 1,667"


def test_waiting_responses_belong_to_several_projects_tiers_and_models(small_run: Run) -> None:
    fill.add_waiting(small_run.deployment, 100, mixed.MODELS)

    rows = small_run.deployment.sql(
        "select count(*), count(distinct project_id), count(distinct tier), count(distinct model), count(dispatched_at),"
        " (select count(distinct response_id) from response_events) from responses"
    )
    assert rows == [(100, 4, 3, 3, 0, 100)]
    small_run.deployment.delete_responses()


def test_a_soak_report_contains_each_process_and_operation(small_run: Run) -> None:
    small_run.deployment.start("worker")

    growth_report = soak.run_soak(small_run.deployment, seconds=1.5, interval_s=0.2)

    assert growth_report["errors"] == {}
    assert set(growth_report["completions"]) == {"background", "cancel", "poll", "stream"}
    assert set(growth_report["processes"]) == {"api", "worker", "sweeper", "postgres", "valkey"}
    assert growth_report["processes"]["worker"]["end_mb"] > 10


@pytest.mark.parametrize(
    ("memory_mb", "file_counts", "has_grown"),
    [
        ([50 + n % 3 for n in range(120)], [40 + n % 4 for n in range(120)], False),  # memory and files fluctuate
        ([min(80, 50 + n) for n in range(120)], [40] * 120, False),  # memory grows only during the warm-up
        ([50 + n / 20 + n % 3 for n in range(120)], [40] * 120, True),  # slow growth with fluctuation
        ([50 + n / 200 for n in range(120)], [40] * 120, False),  # memory grows by less than the tolerance
        ([50] * 120, [40 + n // 10 for n in range(120)], True),  # a leak of open files
    ],
)
def test_growth_is_judged_by_a_line_through_the_memory_and_by_the_number_of_files(
    memory_mb: list[float], file_counts: list[int], has_grown: bool
) -> None:
    footprints = [Footprint(int(1e6 * mb), 0, count, 7) for mb, count in zip(memory_mb, file_counts, strict=True)]

    samples = [(5.0 * n, footprint) for n, footprint in enumerate(footprints)]
    assert soak.judge_growth(samples).has_grown is has_grown
