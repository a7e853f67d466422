"""The benchmark of the complete system: its mixed load, its counters, and a benchmark row for each of its targets."""

import http.client
import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from bench import cpu, load
from bench.__main__ import MEASURES
from bench.load import mixes, wire
from bench.load.mixes import Mix, Turn
from bench.run import QUICK, Run
from bench.servers import run_servers
from bench.targets import TARGETS
from bench.whole import counters, idle, pss, running
from bench.whole.config import LIMITED, UNLIMITED
from bench.whole.noops import Noops
from bench.whole.shared_system import use_system
from bench.whole.slices import MIXED, ProjectLoad
from bench.whole.system import BACKBURNER_PARTS, System
from bench.whole.targets import AIMS
from local import ports

SIZES = replace(
    QUICK,
    stream_token_count=20,
    whole_stored_count=50,
    whole_slice_s=0.05,
    whole_rate_per_s=20,
    whole_arrival_s=0.4,
    whole_polled_count=5,
    whole_running_count=5,
    whole_max_stream_count=7,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run with the smallest sizes. It has the model server and the bare relay, but no deployment."""
    floor_relay_port = ports.free_port()
    with run_servers(tmp_path_factory.mktemp("whole")) as servers:
        model_server_port = str(servers.model_server.port)
        servers.start_program(
            "floor-relay", "bench.floors.relay", str(floor_relay_port), model_server_port, port=floor_relay_port
        )
        yield Run(SIZES, servers, None, 0, floor_relay_port, lambda _: None)  # type: ignore[arg-type]


@pytest.fixture
def system(run: Run) -> Iterator[System]:
    """The system of the run with all parts running; responses of the test are deleted afterwards."""
    with use_system(run) as system:
        yield system
        system.start(*BACKBURNER_PARTS)


def test_the_system_runs_the_same_parts_as_make_up(system: System) -> None:
    assert set(system.pids) == {"postgres", "valkey", "api", "worker", "sweeper", "flower"}
    assert set(system.keys) == {"limited", "unlimited"}
    assert system.count_responses("completed") >= SIZES.whole_stored_count


def test_a_closed_mix_completes_full_rounds_of_responses(run: Run, system: System) -> None:
    began_at = datetime.now(UTC)
    result = ProjectLoad(run, system, LIMITED).run_closed(3)

    figures = result.figures
    rounds, remainder = divmod(figures.response_count, len(MIXED))
    assert rounds >= 1
    assert remainder == 0
    assert figures.turns == {kind: rounds * MIXED.count(kind) for kind in MIXED}
    assert figures.tokens == 5 * 20 * figures.turns["stream"]
    assert figures.polls >= figures.turns["background"] + figures.turns["cancel"]
    assert (
        figures.latency_ms("first event", 0.5)
        <= figures.latency_ms("first token", 0.5)
        <= figures.latency_ms("stream", 0.5)
    )
    query = "select status, count(*) from responses where created_at > %s group by status"
    assert dict(system.sql(query, began_at)) == {
        "completed": figures.response_count - figures.turns["cancel"],
        "cancelled": figures.turns["cancel"],
    }
    assert set(result.costs_ms) == set(system.pids)
    assert result.costs_ms["api"] > 0.1
    assert result.total_ms == pytest.approx(sum(result.costs_ms.values()))


def test_only_the_limited_project_has_limits(run: Run, system: System) -> None:
    for project in (LIMITED, UNLIMITED):
        ProjectLoad(run, system, project, ["background"]).run_closed(1)

    headers = {project.name: create_headers(system, project.name, project.model) for project in (LIMITED, UNLIMITED)}
    assert "x-ratelimit-remaining-tokens" in headers["limited"]
    assert "x-ratelimit-remaining-tokens" not in headers["unlimited"]


def create_headers(system: System, project: str, model: str) -> set[str]:
    """Send a create request; return the names of the response headers."""
    connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=30)
    headers = {"Authorization": f"Bearer {system.keys[project]}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/responses", json.dumps({"model": model, "input": "Hello."}), headers)
    response = connection.getresponse()
    assert response.status == 200, response.read()
    response.read()
    connection.close()
    return {name.lower() for name, _ in response.getheaders()}


class SequentialHandler(http.server.BaseHTTPRequestHandler):
    """Responds to foreground create requests sequentially, each after `delay_s` seconds."""

    delay_s = 0.0
    http_status = 200
    response_status = "completed"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.delay_s)
        body = json.dumps({"id": "resp_1", "status": self.response_status}).encode()
        self.send_response(self.http_status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Do not print requests to standard error."""


@contextmanager
def running_server(**attributes: object) -> Iterator[int]:
    """Run a server that handles one request at a time; yield its port."""
    server = http.server.HTTPServer(("127.0.0.1", 0), type("Handler", (SequentialHandler,), attributes))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run_foreground(port: int, **arrival: float) -> mixes.MixFigures:
    turns = [Turn("foreground", wire.post_request("/v1/responses", {"model": "any"}))]
    return mixes.run(Mix(port, "", turns, marker="~", seconds=0.5, **arrival))  # type: ignore[arg-type]


def test_latency_with_open_arrival_is_measured_from_the_scheduled_time() -> None:
    with running_server(delay_s=0.1) as port:
        closed_arrival = run_foreground(port, clients=1)
        open_arrival = run_foreground(port, rate_per_s=40)

    # 20 requests arrive in half a second, and the last one waits for 19 others.
    assert open_arrival.response_count == 20
    assert closed_arrival.latency_ms("foreground", 0.99) < 500 < 1400 < open_arrival.latency_ms("foreground", 0.99)
    assert open_arrival.seconds > 2


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ({"http_status": 503}, "foreground: status 503"),
        ({"response_status": "failed"}, "foreground: failed, not completed"),
    ],
)
def test_a_turn_that_does_not_end_as_expected_is_an_error(attributes: dict[str, object], error: str) -> None:
    with running_server(**attributes) as port, pytest.raises(load.LoadError, match=error):
        run_foreground(port, clients=1)


def test_the_counters_of_postgres_are_exact(system: System) -> None:
    system.sql("create table counted (n int)")
    system.stop(*BACKBURNER_PARTS)
    with psycopg.connect(system.database_url, autocommit=True) as connection:
        previous_counters = counters.read_counters(system)
        with counters.count_statements(system) as count:
            for n in range(7):
                connection.execute("insert into counted values (%s)", [n])
            connection.execute("select count(*)\nfrom counted")
            assert count() == 8
        writes = counters.read_counters(system).since(previous_counters)
        connection.execute("drop table counted")

    assert writes.transactions == 7
    assert 7 * 30 < writes.wal_bytes < 100_000
    assert system.sql("show log_statement") == [("none",)]


def test_streams_are_opened_until_one_is_rejected(system: System) -> None:
    ids = running.start_running(system, 2)

    with idle.open_streams(system, ids, 5) as streams:
        assert (streams.count, streams.limit_reason) == (5, "all requested streams are open: 5")
    with idle.open_streams(system, [*ids, "resp_" + 48 * "0"], 5) as streams:
        assert (streams.count, streams.limit_reason) == (2, "stream 3 was rejected: HTTP/1.1 404 Not Found")
    with (
        pytest.raises(load.LoadError, match="stream 1 was rejected"),
        idle.open_streams(system, ["resp_" + 48 * "0"], 5),
    ):
        pass


def test_memory_of_a_process_includes_its_children() -> None:
    child_program = "data = b'x' * 40_000_000; print('ready', flush=True); import sys; sys.stdin.read()"
    parent_program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child_program!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", parent_program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        mb = pss.total_mb([parent.pid])
        parent.communicate()

    assert 40 < mb < 80


def test_processor_time_is_exact_to_a_few_milliseconds() -> None:
    child_program = (
        "import time\nwhile time.process_time() < 0.0532: pass\nprint(time.process_time(), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", child_program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        reported_s = float(process.stdout.readline())
        measured_s = cpu._cpu_seconds(process.pid)
        process.communicate(b"\n")

    assert reported_s <= measured_s < reported_s + 0.004


def test_no_op_tasks_are_sent_at_the_given_rate(run: Run) -> None:
    floor = Noops.for_run(run)
    began_at = time.monotonic()

    costs = floor.measure(per_s=40, duration_s=0.5)

    assert time.monotonic() - began_at >= 19 / 40
    assert set(costs) == {"worker", "flower", "valkey", "sender"}
    assert all(ms > 0 for ms in costs.values())


def test_the_measures_add_a_row_for_every_target_and_delete_their_responses(run: Run, system: System) -> None:
    count_before = system.sql("select count(*) from responses")
    for name, measure in MEASURES.items():
        if name.startswith("whole-"):
            measure(run)
            assert system.sql("select count(*) from responses") == count_before, name

    assert sorted(row.name for row in run.rows) == sorted(aim.name for aim in AIMS)
    assert {aim.name for aim in AIMS} == {name for name in TARGETS if name.startswith("whole: ")}
    # A difference between two measurements of such short slices may be negative.
    differences = {
        row.name for row in run.rows if row.name.startswith("whole: Flower") or "more than" in row.target.unit
    }
    assert all(figure > 0 for row in run.rows for figure in row.figures if row.name not in differences)
    assert len(differences) < len(run.rows) / 2
    assert next(row for row in run.rows if row.name == "whole: idle streams").figures == [7]
    assert run.cpu_us["whole: response with limits, 16 clients"]["load generator"] > 0
