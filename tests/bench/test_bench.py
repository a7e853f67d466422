"""The basis of the benchmark's figures: load generator, model server, processor-time meter and report format."""

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

from bench import cpu, fill, load, machine, report, shapes
from bench.__main__ import models as models_of
from bench.curves import scale
from bench.deployment import Deployment
from bench.footprint import Footprint
from bench.load import Requests, Streams, wire
from bench.machine import ModelServer
from bench.rows import faults, memory
from bench.run import QUICK, Run
from bench.soak import __main__ as soak
from bench.soak import mixed
from bench.targets import TARGETS, Row, ratios
from local import ports
from local.home import Home
from local.processes import child
from tests.harness.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    server = ModelServer(ports.free())
    with child.running(server.part(), Home.at(tmp_path_factory.mktemp("bench"))):
        yield server


def chat(model: str, tag: str = "") -> str:
    return wire.post("/v1/chat/completions", shapes.body(model, tag))


def streams(models: ModelServer, model: str, count: int, connections: int) -> load.Figures:
    return load.run(Streams(models.port, [chat(model)] * count, connections, marker=shapes.MARK, end="[DONE]"))


def test_the_load_generator_makes_and_counts_every_request(models: ModelServer) -> None:
    figures = load.run(Requests(models.port, [wire.get("/streams")], connections=7, count=500))

    assert figures.count == len(figures.latencies_ms) == 500
    assert 0 < figures.p50_ms <= figures.p99_ms <= 1000 * figures.seconds
    assert figures.per_s == pytest.approx(500 / figures.seconds)


def test_the_load_generator_stops_in_time_and_leaves_out_what_is_warm(models: ModelServer) -> None:
    began_at = time.monotonic()
    figures = load.run(Requests(models.port, [wire.get("/streams")], connections=4, seconds=0.4, warm_s=0.2))

    assert 0.2 < figures.seconds < 0.6 < time.monotonic() - began_at
    assert figures.cpu_s > 0


def test_an_answer_that_is_no_success_makes_no_figure(models: ModelServer) -> None:
    with pytest.raises(load.Failed, match="status 404"):
        load.run(Requests(models.port, [chat("no-such-shape")], connections=1, count=3))


def test_the_model_server_gives_every_token_at_once_or_in_its_time(models: ModelServer) -> None:
    models.reset()

    at_once = streams(models, "20-tokens-at-once", 40, connections=8)
    paced = streams(models, "11-tokens-every-50ms", 8, connections=8)

    assert (at_once.count, at_once.tokens) == (40, 800)
    assert (paced.count, paced.tokens) == (8, 88)
    assert 0.5 <= paced.seconds < 2
    assert paced.p50_ms < 400  # the first token does not wait for the others
    found = models.report()
    assert (found["open"], found["most_open"], found["whole"], found["aborted"]) == (0, 8, 48, 0)


def test_the_model_server_says_when_a_connection_was_closed(models: ModelServer) -> None:
    models.reset()
    payload = chat("1-tokens-at-once-then-hang", "tag-7")
    with pytest.raises(load.Failed, match="not ended in time"):
        load.run(Streams(models.port, [payload], 1, marker=shapes.MARK, end="[DONE]", seconds=0.5))

    until(lambda: models.report()["aborted"] == 1, within_s=5)
    stream = models.report()["streams"]["tag-7"]
    assert stream["closed_at"] - stream["asked_at"] == pytest.approx(0.5, abs=0.4)
    assert models.report()["open"] == 0


def test_a_token_that_is_cut_in_two_is_counted_once() -> None:
    pieces = "for piece in (b'HTTP/1.1 200 OK\\r\\n\\r\\nfi', b'rst fir', b'st first', b' [DO', b'NE]'): send(piece)"
    port = ports.free()
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
        figures = load.run(Streams(port, [wire.get("/")], 1, marker="first", end="[DONE]", seconds=10))

    assert figures.tokens == 3


def test_processor_time_of_children_is_counted_while_they_live_and_afterwards() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    program = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {burn!r}]); time.sleep(30)"
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        with cpu.spending({"parent": parent.pid}) as spent:
            until(lambda: cpu._spent(parent.pid) >= 0.3, within_s=20)
            until(lambda: not psutil.Process(parent.pid).children(), within_s=20)  # now counted for the parent
        parent.kill()

    assert spent.seconds["parent"] >= 0.25
    assert spent.each_us(10)["parent"] >= 25_000


KEYS = {"name", "ratio", "target", "met", "floor", "spread", "unit"} | {
    "raw",
    "raw_spread",
    "raw_unit",
    "higher_is_better",
}


def a_run(rows: list[Row]) -> Run:
    """A run with these rows and without servers."""
    return Run(QUICK, None, None, 0, 0, lambda _: None, rows)  # type: ignore[arg-type]


def test_a_report_has_a_row_for_every_target_in_the_form_that_is_promised(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    run = a_run([ratios(name, [1.0, 3.0, 2.0], [1.0, 1.0, 1.0]) for name in reversed(TARGETS)])

    report.write(run, quick=True, seconds=1, path=path)

    rows = json.loads(path.read_text())["rows"]
    assert [row["name"] for row in rows] == list(TARGETS)
    for row in rows:
        assert set(row) == KEYS
        assert (row["raw"], row["raw_spread"], row["raw_unit"]) == (2, [1, 3], TARGETS[row["name"]].floor_unit)
        assert (row["ratio"], row["floor"], row["spread"]) == (2, 1, [1, 3])
        assert row["target"] == TARGETS[row["name"]].limit
        assert row["met"] == TARGETS[row["name"]].met_by(2)


def test_a_row_has_the_measured_quantity_beside_the_figure_that_is_held_against_the_target() -> None:
    derived = Row("submit p99", [2.0, 3.0], raw=[90.0, 120.0], raw_unit="ms").as_json()
    itself = Row("cancel p50", [8.0, 9.0, 7.0]).as_json()

    assert (derived["ratio"], derived["raw"], derived["raw_spread"], derived["raw_unit"]) == (2.5, 105, [90, 120], "ms")
    assert (itself["raw"], itself["raw_unit"]) == (8, TARGETS["cancel p50"].unit)
    assert (derived["higher_is_better"], ratios("poll", [2.0], [1.0]).as_json()["higher_is_better"]) == (False, True)


def test_every_target_is_measured_by_a_row() -> None:
    source = "".join(path.read_text() for path in (ROOT / "bench" / "rows").glob("*.py"))
    elsewhere = ("growth: ", "whole: ")

    assert [name for name in TARGETS if f'"{name}"' not in source and not name.startswith(elsewhere)] == []


def test_faults_are_taken_from_a_report_of_chaos_or_left_out_aloud(tmp_path: Path) -> None:
    run = a_run([])
    faults.measure(run, tmp_path / "none.json")
    assert (run.rows, "no report" in str(run.beside["faults"])) == ([], True)

    found = tmp_path / "report.json"
    found.write_text(json.dumps({"violations": 2}))
    faults.measure(run, found)

    assert [(row.name, row.figure, row.met) for row in run.rows] == [("faults", 2, False)]


def test_what_plots_need_is_installed_by_the_benchmark_alone() -> None:
    pins = {path.name: path.read_text() for path in (ROOT / "requirements").glob("*.txt")}

    assert [name for name, text in pins.items() if "matplotlib==" in text] == ["bench.txt"]


def given(path: str, called: str) -> list[str]:
    """The keyword and list arguments of the only call of `called` in a source file, as source text."""
    calls = [
        node
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == called
    ]
    (call,) = calls
    return [ast.unparse(one) for one in (*call.args, *call.keywords) if isinstance(one, ast.List | ast.keyword)]


def test_floors_give_granian_and_celery_what_the_product_gives_them() -> None:
    assert given("bench/floors/web.py", "Granian") == given("app/serve.py", "Granian")
    for called in ("app.conf.update", "app.start"):
        assert given("bench/floors/tasks.py", called) == given("worker/consumer/program.py", called)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run on its own deployment, with all sizes at their minimum."""
    sizes = replace(QUICK, submitted=20, running=5, idle_streams=3)
    with (
        machine.running_in(tmp_path_factory.mktemp("tiny")) as servers,
        Deployment(servers, "tiny", 1, sorted({*models_of(sizes), *mixed.MODELS})) as deployment,
    ):
        deployment.start("api", "sweeper")
        yield Run(sizes, servers, deployment, 0, 0, lambda _: None)


def test_memory_is_measured_of_what_waits_runs_and_streams(tiny: Run) -> None:
    memory.measure(tiny)

    figures = {name: float(str(value).split()[0].strip(",").replace(",", "")) for name, value in tiny.beside.items()}
    assert len(figures) == 8
    assert figures["bytes of a waiting response in Postgres"] > 1000
    assert figures["bytes of a ring in Valkey"] > 100
    assert figures["bytes of a running response in its worker, of 5"] > 0


def test_what_a_core_does_is_reckoned_from_the_costs_of_all_processes_of_a_kind() -> None:
    costs = scale.by_kind({"worker": 300, "worker-2": 100, "api": 50, "load generator": 7})

    assert costs == {"worker": 400, "api": 50, "load generator": 7}
    assert scale.per_core(1e6, costs, {"api": 150}) == "API 5,000, worker 2,500, all 1,667"


def test_what_waits_is_of_several_projects_tiers_and_models(tiny: Run) -> None:
    fill.waiting(tiny.deployment, 100, mixed.MODELS)

    found = tiny.deployment.sql(
        "select count(*), count(distinct project_id), count(distinct tier), count(distinct model), count(dispatched_at),"
        " (select count(distinct response_id) from response_events) from responses"
    )
    assert found == [(100, 4, 3, 3, 0, 100)]
    tiny.deployment.forget()


def test_a_soak_says_of_each_process_what_became_of_it(tiny: Run) -> None:
    tiny.deployment.start("worker")

    found = soak.soak(tiny.deployment, seconds=1.5, every_s=0.2)

    assert found["errors"] == {}
    assert set(found["done"]) == {"background", "cancel", "poll", "stream"}
    assert set(found["processes"]) == {"api", "worker", "sweeper", "postgres", "valkey"}
    assert found["processes"]["worker"]["end_mb"] > 10


@pytest.mark.parametrize(
    ("mb", "files", "grew"),
    [
        ([50 + n % 3 for n in range(120)], [40 + n % 4 for n in range(120)], False),  # they fluctuate
        ([min(80, 50 + n) for n in range(120)], [40] * 120, False),  # it grew during warm-up
        ([50 + n / 20 + n % 3 for n in range(120)], [40] * 120, True),  # slow growth hidden by fluctuation
        ([50 + n / 200 for n in range(120)], [40] * 120, False),  # less than the tolerance
        ([50] * 120, [40 + n // 10 for n in range(120)], True),  # it leaks open files
    ],
)
def test_a_process_grew_if_a_line_through_its_samples_rises(mb: list[float], files: list[int], grew: bool) -> None:
    held = [Footprint(int(1e6 * own), 0, opened, 7) for own, opened in zip(mb, files, strict=True)]

    assert soak.verdict([(5.0 * n, one) for n, one in enumerate(held)]).grew is grew
