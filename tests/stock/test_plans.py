"""What PostgreSQL's planner expects the product's statements to cost, where it has no statistics or misleading ones."""

from collections.abc import Iterator, Mapping

import pytest

from tests.model_server import ModelServer
from tests.stack import ROOT
from tests.stock import filling, load, statements
from tests.stock.conftest import Servers
from tests.stock.deployment import CONCURRENCY, StockStack
from tests.stock.journey import Journey
from tests.stock.plans import Plan, Recording
from tests.waiting import until

DATABASE = "plans"
LOAD_S = 2
pytestmark = pytest.mark.stock


@pytest.fixture(scope="module")
def recording(servers: Servers, migrated: str) -> Recording:
    """What is sent to a database of its own."""
    servers.postgres.create_database(DATABASE, migrated)
    return Recording(servers.postgres, DATABASE, servers.home.log_file("postgres"))


@pytest.fixture(scope="module")
def stack(
    recording: Recording, servers: Servers, _model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StockStack]:
    """API, worker and sweeper on the recorded database, which is new."""
    home = tmp_path_factory.mktemp(DATABASE) / "home"
    with StockStack(home, servers.postgres.url(DATABASE), servers.redis(DATABASE), _model_server) as stack:
        stack.start_all(WAIT_IN_SLOT_S="0", WAIT_BETWEEN_S="1", FOLLOW_S="3", KEY_CACHE_S="0")
        yield stack


@pytest.fixture(scope="module")
def journey(stack: StockStack, recording: Recording) -> Mapping[str, Plan]:
    """Every statement of a journey through all features."""
    with Journey(stack) as journey:
        journey.run()
    unsettled = "select 1 from usage_ledger where charged_tokens <> input_tokens + output_tokens limit 1"
    until(lambda: not stack.sql(unsettled), within_s=20)
    return recording.take()


def too_expensive(stack: StockStack, recorded: Mapping[str, Plan]) -> list[str]:
    """The statements that PostgreSQL would compile, which can take longer than the statement time-out."""
    ((limit,),) = stack.sql("show jit_above_cost")
    return [f"{plan.cost:.0f}: {text:.200}" for text, plan in recorded.items() if plan.cost >= float(limit)]


def test_no_statement_is_expensive_on_a_database_without_statistics(
    stack: StockStack, journey: Mapping[str, Plan]
) -> None:
    assert too_expensive(stack, journey) == []
    assert stack.analyses() == 0


def test_every_statement_in_the_source_is_recorded(journey: Mapping[str, Plan]) -> None:
    sent = list(journey)

    assert [found for found in statements.of(ROOT / "core") if not any(found.begins in text for text in sent)] == []


def test_no_hot_statement_is_expensive_on_a_large_database_without_statistics(
    stack: StockStack, recording: Recording
) -> None:
    filling.copy_ended(stack.admin_url, filling.completed(stack), filling.STORED)
    recording.take()

    outcome = load.run(stack, LOAD_S)

    assert outcome.completed > 0
    assert too_expensive(stack, recording.take()) == []


def test_no_hot_statement_is_expensive_after_a_backlog_was_analysed(stack: StockStack, recording: Recording) -> None:
    completed = "select count(*) from responses where model = 'narrow' and status = 'completed'"
    stack.stop("worker")
    with stack.client() as client:
        waiting = [client.responses.create(model="narrow", input="Hello.", background=True).id]
        filling.copy_waiting(stack.admin_url, waiting, filling.WAITING)
        stack.sql("analyze")
        ((before,),) = stack.sql(completed)
        recording.take()
        stack.start("worker")
        for _ in range(20):
            client.responses.create(model="scripted", input="Hello.", background=True)
        until(lambda: stack.sql(completed) >= [(before + 2 * CONCURRENCY,)])

    assert too_expensive(stack, recording.take()) == []
