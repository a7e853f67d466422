"""Overload by three projects in all tiers: the shares of the tiers, the waiting times, and the credits charged."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import openai
import pytest

from core.bootstrap import open_core
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

# The sum of the weights of the three tiers with a backlog.
SLOTS = 8 + 4 + 1
BURST = 60  # the requests that a project may send immediately, and also the requests per minute that are refilled
LIMITS_CONFIG = f"""
[projects.alpha.limits."*"]
requests_per_minute = {BURST}
[projects.beta.limits."*"]
requests_per_minute = {BURST}
queued = 400
[projects.gamma.limits."*"]
requests_per_minute = {BURST}
tokens_per_minute = 8000
"""
PROJECTS = ("alpha", "beta", "gamma")
# Requests per second of each project by tier; the total is twice the capacity of the slots.
RATES = {"no-limit": 3.2, "default": 2.5, "auto": 2.5, "flex": 0.7}
Demand = tuple[str, str]  # a project and the requested tier


@pytest.fixture
def config(config: Path) -> Path:
    """The usual models, and three projects with limits."""
    config.write_text(config.read_text() + LIMITS_CONFIG)
    return config


class Arrivals:
    """Create requests that arrive at constant rates, regardless of their outcome, until they are stopped."""

    def __init__(self, stack: Stack, models: ModelServer) -> None:
        self._stack = stack
        self._client_stack = ExitStack()
        self._script = models.script(tokens=10, delay_s=0.1)
        self._stopped = threading.Event()
        self._threads = ThreadPoolExecutor(64)
        self.requests: Counter[Demand] = Counter()
        self.responses: Counter[tuple[str, str, str]] = Counter()  # by project, requested tier and granted tier
        self.refusals: Counter[Demand] = Counter()
        self.errors: list[str] = []
        with open_core(stack.settings) as core:
            keys = {project: core.keys.create({"no-limit"}, project) for project in PROJECTS}
        self._clients = [
            {project: self._client(port, key) for project, key in keys.items()} for port in (stack.port, stack.port_2)
        ]

    def _client(self, port: int, key: str) -> openai.OpenAI:
        return self._client_stack.enter_context(
            openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0, timeout=20)
        )

    def start_requests(self, project: str, tier: str, rate: float) -> None:
        """Start to send `rate` create requests per second."""
        self._threads.submit(self._send, project, tier, rate)

    def _send(self, project: str, tier: str, rate: float) -> None:
        start, number = time.monotonic(), 0
        while not self._stopped.wait(max(0, start + number / rate - time.monotonic())):
            number += 1
            self._create(self._clients[number % 2][project], project, tier)

    def _create(self, client: openai.OpenAI, project: str, tier: str) -> None:
        self.requests[project, tier] += 1
        try:
            response = client.responses.create(
                model="scripted",
                input=self._script,
                background=True,
                max_output_tokens=100,
                service_tier=tier,  # type: ignore[arg-type]
            )
        except openai.RateLimitError as error:
            assert error.code in {"rate_limit_exceeded", "resource_unavailable"}
            assert int(error.response.headers["Retry-After"]) >= 1
            self.refusals[project, tier] += 1
        except openai.OpenAIError as error:
            self.errors.append(repr(error))
        else:
            self.responses[project, tier, str(response.service_tier)] += 1

    def granted_counts(self, project: str, tier: str) -> dict[str, int]:
        """The number of responses to a project's requests for a tier, by the granted tier."""
        return {
            granted_tier: count
            for (response_project, requested_tier, granted_tier), count in self.responses.items()
            if (response_project, requested_tier) == (project, tier)
        }

    def stop(self) -> None:
        """Stop the create requests, and cancel the responses that have not ended."""
        self._stopped.set()
        self._threads.shutdown()
        with open_core(self._stack.settings) as core, ThreadPoolExecutor(2) as threads:
            open_ids = [str(row[0]) for row in self._stack.sql("select id from responses where finished_at is null")]
            list(threads.map(core.operations.cancel, open_ids))
        self._client_stack.close()


def format_percentiles(seconds: Iterable[float]) -> str:
    """The median and the 95th percentile as text."""
    values = sorted(seconds)
    if not values:
        return "-"
    return f"{statistics.median(values):.2f} / {values[int(len(values) * 0.95)]:.2f}"


def outcome_table(stack: Stack, arrivals: Arrivals) -> str:
    """A table of outcomes by project, requested tier and granted tier."""
    lines = [f"{'project':8} {'requested':9} {'granted':11} {'n':>5} {'refused':>8}   wait p50 / p95 in s"]
    for project in PROJECTS:
        for tier in RATES:
            granted_counts = arrivals.granted_counts(project, tier) or {"-": 0}
            for position, (granted_tier, count) in enumerate(sorted(granted_counts.items())):
                waits_s = stack.sql(
                    "select extract(epoch from r.started_at - r.created_at)::float"
                    " from responses r join projects p on p.id = r.project_id"
                    " where p.name = %s and r.tier = %s and r.started_at is not null",
                    project,
                    granted_tier,
                )
                refusals = arrivals.refusals[project, tier] if position == 0 else ""
                percentiles = format_percentiles(wait_s for (wait_s,) in waits_s)
                lines.append(f"{project:8} {tier:9} {granted_tier:11} {count:5} {refusals!s:>8}   {percentiles}")
    return "\n".join(lines)


def check_ledger(stack: Stack) -> str:
    """Assert that the ledger has one row per response and the tokens of all attempts; return a summary."""
    until(stack.all_ended, timeout_s=60)
    # The workers of cancelled responses still have to report their usage.
    until(lambda: stack.sql("select 1 from attempts where output_tokens is null") == [], timeout_s=20)
    sums = "sum(input_tokens), sum(output_tokens), sum(cached_tokens), sum(reasoning_tokens)"
    ((*ledger,),) = stack.sql(f"select {sums} from usage_ledger")
    ((*attempts,),) = stack.sql(f"select {sums} from attempts")
    assert ledger == attempts
    ((response_count,),) = stack.sql("select count(*) from responses")
    ledger_counts = stack.sql("select count(*), count(distinct response_id) from usage_ledger")
    assert ledger_counts == [(response_count, response_count)]
    unsettled_query = "select count(*) from usage_ledger where charged_tokens <> input_tokens + output_tokens"
    until(lambda: stack.sql(unsettled_query) == [(0,)], timeout_s=20)
    return f"ledger {[int(total) for total in ledger]} = attempts {[int(total) for total in attempts]}"


def count_charged_requests(stack: Stack, project: str, period_s: float) -> int:
    """The number of requests charged to a project's credits in the last `period_s` seconds."""
    ((count,),) = stack.sql(
        "select coalesce(sum(reserved_requests), 0) from responses r join projects p on p.id = r.project_id"
        " where p.name = %s and r.created_at > now() - %s * interval '1 s'",
        project,
        period_s,
    )
    return int(count)


@pytest.mark.long
def test_overload_is_shared_by_weight_and_charged_correctly_despite_the_loss_of_valkey(
    stack: Stack, models: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.up("valkey", "api", "api-2", "sweeper")
    stack.start("worker", WORKER_SLOTS=str(SLOTS))
    arrivals = Arrivals(stack, models)
    start = time.monotonic()
    # While the other projects are idle, `auto` is served beyond the limit.
    arrivals.start_requests("alpha", "auto", 9)
    until(lambda: arrivals.responses["alpha", "auto", "over-limit"] > 5, timeout_s=30)
    for project in PROJECTS:
        for tier, rate in RATES.items():
            arrivals.start_requests(project, tier, rate)
    overload_start = time.monotonic()
    until(lambda: time.monotonic() - overload_start > 25, timeout_s=30)
    starts_before = count_starts(stack, 20)

    stack.kill("valkey")
    until(lambda: time.monotonic() - overload_start > 30, timeout_s=10)
    stack.start("valkey")  # without any data
    restarted_at = time.monotonic()
    until(lambda: time.monotonic() - overload_start > 60, timeout_s=35)
    starts_after = count_starts(stack, 20)
    since_restart_s = time.monotonic() - restarted_at
    charged_after = {project: count_charged_requests(stack, project, since_restart_s) for project in PROJECTS}
    total_s = time.monotonic() - start
    charged_total = {project: count_charged_requests(stack, project, total_s + 1) for project in PROJECTS}
    arrivals.stop()
    ledger_summary = check_ledger(stack)

    with capsys.disabled():
        print(f"\n{outcome_table(stack, arrivals)}")
        print(f"starts in the 20 s before Valkey was lost: {starts_before}, after its restart: {starts_after}")
        print(f"charged in {since_restart_s:.0f} s after the restart: {charged_after}")
        print(f"charged in all {total_s:.0f} s: {charged_total}; {ledger_summary}")
    assert arrivals.errors == []
    for starts in (starts_before, starts_after):  # the weights are 8 : 4 : 1
        assert 1.3 < starts["no-limit"] / starts["default"] < 3
        assert 2 < starts["default"] / starts["flex"] < 8
    for project in PROJECTS:
        # The loss of Valkey grants no second burst, and used credits are refilled at their rate.
        assert charged_total[project] <= BURST * (1 + (total_s + 1) / 60) + 1
    for project in ("alpha", "beta"):
        assert charged_after[project] >= 0.8 * since_restart_s * BURST / 60 - 1


def count_starts(stack: Stack, period_s: float) -> dict[str, int]:
    """The number of responses of each tier that started in the last `period_s` seconds."""
    rows = stack.sql(
        "select tier, count(*) from responses where started_at > now() - %s * interval '1 s' group by tier", period_s
    )
    return {str(tier): int(count) for tier, count in rows}


def test_a_few_seconds_of_overload_are_charged_correctly(stack: Stack, models: ModelServer) -> None:
    stack.up("valkey", "api", "api-2", "sweeper")
    stack.start("worker", WORKER_SLOTS=str(SLOTS))
    arrivals = Arrivals(stack, models)
    for project in PROJECTS:
        for tier, rate in RATES.items():
            arrivals.start_requests(project, tier, rate)
    start = time.monotonic()
    until(lambda: time.monotonic() - start > 4)
    arrivals.stop()

    check_ledger(stack)
    assert arrivals.errors == []
    assert {tier for _, _, tier in arrivals.responses} >= {"no-limit", "default", "flex"}
