"""The benchmark of the whole system: its mixed load, its counters, and a row for each of its targets."""

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

from bench import cpu, load, machine
from bench.__main__ import MEASURES
from bench.load import mixes, wire
from bench.load.mixes import Mix, Turn
from bench.run import QUICK, Run
from bench.targets import TARGETS
from bench.whole import counters, idle, pss, running
from bench.whole.config import LIMITED, UNLIMITED
from bench.whole.lending import lent
from bench.whole.noops import Noops
from bench.whole.slices import MIXED, Load
from bench.whole.system import EDGES, System
from bench.whole.targets import AIMS
from local import ports

SIZES = replace(
    QUICK,
    stream_tokens=20,
    whole_stored=50,
    whole_slice_s=0.05,
    whole_per_s=20,
    whole_arrivals_s=0.4,
    whole_polled=5,
    whole_running=5,
    whole_streams=7,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run with the smallest sizes; the group needs the model server and the bare relay, but no deployment."""
    relay_port = ports.free()
    with machine.running_in(tmp_path_factory.mktemp("whole")) as servers:
        models_port = str(servers.models.port)
        servers.program("floor-relay", "bench.floors.relay", str(relay_port), models_port, port=relay_port)
        yield Run(SIZES, servers, None, 0, relay_port, lambda _: None)  # type: ignore[arg-type]


@pytest.fixture
def system(run: Run) -> Iterator[System]:
    """The system of the run with all processes alive; afterwards its stored data is as before."""
    with lent(run) as found:
        yield found
        found.start(*EDGES)


def test_every_part_that_up_starts_is_alive(system: System) -> None:
    assert set(system.pids) == {"postgres", "valkey", "api", "worker", "sweeper", "flower"}
    assert set(system.keys) == {"limited", "unlimited"}
    assert system.count("completed") >= SIZES.whole_stored


def test_a_closed_mix_follows_whole_rounds_of_responses_to_their_ends(run: Run, system: System) -> None:
    began_at = datetime.now(UTC)
    found = Load(run, system, LIMITED).closed(3)

    figures = found.figures
    rounds, left = divmod(figures.responses, len(MIXED))
    assert (rounds >= 1, left) == (True, 0)
    assert figures.turns == {kind: rounds * MIXED.count(kind) for kind in MIXED}
    assert figures.tokens == 5 * 20 * figures.turns["stream"]
    assert figures.polls >= figures.turns["background"] + figures.turns["cancel"]
    assert figures.ms("first event", 0.5) <= figures.ms("first token", 0.5) <= figures.ms("stream", 0.5)
    stored = "select status, count(*) from responses where created_at > %s group by status"
    assert dict(system.sql(stored, began_at)) == {
        "completed": figures.responses - figures.turns["cancel"],
        "cancelled": figures.turns["cancel"],
    }
    assert set(found.ms) == set(system.pids)
    assert found.ms["api"] > 0.1
    assert found.total_ms == pytest.approx(sum(found.ms.values()))


def test_one_project_is_limited_and_the_other_one_is_not(run: Run, system: System) -> None:
    for side in (LIMITED, UNLIMITED):
        Load(run, system, side, ["background"]).closed(1)

    used = {side.project: wire_headers(system, side.project, side.model) for side in (LIMITED, UNLIMITED)}
    assert "x-ratelimit-remaining-tokens" in used["limited"]
    assert "x-ratelimit-remaining-tokens" not in used["unlimited"]


def wire_headers(system: System, project: str, model: str) -> set[str]:
    """The names of the headers in the reply to a create."""
    request = http.client.HTTPConnection("127.0.0.1", system.port, timeout=30)
    headers = {"Authorization": f"Bearer {system.keys[project]}", "Content-Type": "application/json"}
    request.request("POST", "/v1/responses", json.dumps({"model": model, "input": "Hello."}), headers)
    answer = request.getresponse()
    assert answer.status == 200, answer.read()
    answer.read()
    request.close()
    return {name.lower() for name, _ in answer.getheaders()}


class OneAtATime(http.server.BaseHTTPRequestHandler):
    """Answers foreground creates one after the other, each after `takes_s` seconds."""

    takes_s = 0.0
    status = 200
    document = "completed"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.takes_s)
        body = json.dumps({"id": "resp_1", "status": self.document}).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving(**how: object) -> Iterator[int]:
    """Run a server that handles one request at a time; yield its port."""
    server = http.server.HTTPServer(("127.0.0.1", 0), type("Handler", (OneAtATime,), how))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def foreground(port: int, **how: float) -> mixes.MixFigures:
    turns = [Turn("foreground", wire.post("/v1/responses", {"model": "any"}))]
    return mixes.run(Mix(port, "", turns, marker="~", seconds=0.5, **how))  # type: ignore[arg-type]


def test_open_arrival_counts_latency_from_the_scheduled_instant() -> None:
    with serving(takes_s=0.1) as port:
        closed = foreground(port, clients=1)
        opened = foreground(port, rate_per_s=40)

    # 20 requests arrive in half a second, and the last one waits for 19 others.
    assert opened.responses == 20
    assert closed.ms("foreground", 0.99) < 500 < 1400 < opened.ms("foreground", 0.99)
    assert opened.seconds > 2


@pytest.mark.parametrize(
    ("how", "error"),
    [({"status": 503}, "foreground: status 503"), ({"document": "failed"}, "foreground: failed, not completed")],
)
def test_a_turn_that_does_not_end_as_expected_makes_no_figure(how: dict[str, object], error: str) -> None:
    with serving(**how) as port, pytest.raises(load.Failed, match=error):
        foreground(port, clients=1)


def test_postgres_is_asked_exactly_what_it_did(system: System) -> None:
    system.sql("create table counted (n int)")
    system.stop(*EDGES)
    with psycopg.connect(system.database_url, autocommit=True) as other:
        before = counters.written(system)
        with counters.statements(system) as count:
            for n in range(7):
                other.execute("insert into counted values (%s)", [n])
            other.execute("select count(*)\nfrom counted")
            assert count() == 8
        written = counters.written(system).since(before)
        other.execute("drop table counted")

    assert written.transactions == 7
    assert 7 * 30 < written.wal_bytes < 100_000
    assert system.sql("show log_statement") == [("none",)]


def test_streams_are_opened_until_one_is_refused(system: System) -> None:
    ids = running.run(system, 2)

    with idle.opened(system, ids, 5) as all_of_them:
        assert (all_of_them.open, all_of_them.end) == (5, "all requested streams are open: 5")
    with idle.opened(system, [*ids, "resp_" + 48 * "0"], 5) as some:
        assert (some.open, some.end) == (2, "stream 3 was rejected: HTTP/1.1 404 Not Found")
    with pytest.raises(load.Failed, match="stream 1 was rejected"), idle.opened(system, ["resp_" + 48 * "0"], 5):
        pass


def test_memory_of_a_process_and_its_children_is_counted() -> None:
    holds = "held = b'x' * 40_000_000; print('ready', flush=True); import sys; sys.stdin.read()"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {holds!r}])"
    with subprocess.Popen([sys.executable, "-c", start], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        mb = pss.mb([parent.pid])
        parent.communicate()

    assert 40 < mb < 80


def test_processor_time_is_exact_below_a_tick_of_the_clock() -> None:
    burn = "import time\nwhile time.process_time() < 0.0532: pass\nprint(time.process_time(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = float(process.stdout.readline())
        spent = cpu._spent(process.pid)
        process.communicate(b"\n")

    assert said <= spent < said + 0.004


def test_no_ops_are_sent_at_the_rate_that_is_given(run: Run) -> None:
    floor = Noops.of(run)
    began_at = time.monotonic()

    costs = floor.measure(per_s=40, seconds=0.5)

    assert time.monotonic() - began_at >= 19 / 40
    assert set(costs) == {"worker", "flower", "valkey", "sender"}
    assert all(ms > 0 for ms in costs.values())


def test_the_measures_add_a_row_for_every_target_and_leave_no_response(run: Run, system: System) -> None:
    stored = system.sql("select count(*) from responses")
    for name, measure in MEASURES.items():
        if name.startswith("whole-"):
            measure(run)
            assert system.sql("select count(*) from responses") == stored, name

    assert sorted(row.name for row in run.rows) == sorted(aim.name for aim in AIMS)
    assert {aim.name for aim in AIMS} == {name for name in TARGETS if name.startswith("whole: ")}
    assert all(figure > 0 for row in run.rows for figure in row.figures if not row.name.startswith("whole: Flower"))
    assert next(row for row in run.rows if row.name == "whole: idle streams").figures == [7]
    assert run.cpu_us["whole: response with limits, 16 clients"]["load generator"] > 0
