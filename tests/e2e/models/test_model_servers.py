"""A response of a misbehaving model server ends, reports the cause, and leaves no connection open."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from openai.types.responses import Response

from tests import invariants
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer
from tests.model_server.misbehaving import CORPUS, Case
from tests.model_server.raw import RawServer
from tests.model_server.wire import Api, Chat, Responses

APIS: tuple[Api, ...] = (Chat(), Responses())
# Longer than the `run` timeout of every model.
DEADLINE_S = 40


def cases() -> Iterator[tuple[str, Case, Api]]:
    """Yield every case with each of its APIs, and with a name that is valid in a path."""
    for index, case in enumerate(CORPUS):
        for api in APIS:
            if api.name in case.apis:
                yield f"{api.name}-{index}", case, api


def write_configuration(path: Path, raw_server: RawServer) -> Path:
    """Write a configuration with one model per case; return its path."""
    tables = [
        f"""
[models.{name}]
base_url = "{case.base_url.format(raw=f"127.0.0.1:{raw_server.port}", name=name)}"
api = "{api.name}"
timeouts = {{ first_token = 3, idle = 2, run = 30 }}
"""
        for name, case, api in cases()
    ]
    path.write_text("".join(tables))
    return path


@pytest.fixture
def raw_server() -> Iterator[RawServer]:
    with RawServer({name: case.script(api) for name, case, api in cases()}) as raw_server:
        yield raw_server


def test_every_misbehaving_model_server_ends_its_response_as_expected(
    raw_server: RawServer, database_url: str, models: ModelServer, tmp_path: Path
) -> None:
    with Stack(
        tmp_path / "home", database_url, write_configuration(tmp_path / "corpus.toml", raw_server), models
    ) as stack:
        invariants.watch_ends(stack)
        stack.up(QUEUE_TIMEOUT_S="10")
        with stack.client() as client:
            response_ids = {
                name: client.responses.create(model=name, input="hi", background=True).id for name, _, _ in cases()
            }
            until(stack.all_ended, timeout_s=DEADLINE_S, first_pause_s=0.2)
            responses = {name: client.responses.retrieve(response_id) for name, response_id in response_ids.items()}
        mismatches = [
            f"{api.name} that {case.behavior}: {describe_mismatch(case, responses[name])}"
            for name, case, api in cases()
            if describe_mismatch(case, responses[name])
        ]
        assert not mismatches, "\n".join(mismatches)
        pid = stack.children["worker"].pid
        with contextlib.suppress(AssertionError):
            until(lambda: not (list_connections(pid, raw_server.port) or raw_server.open_scripts()), timeout_s=5)
        open_names = set(raw_server.open_scripts())
        open_behaviors = [case.behavior for name, case, _ in cases() if name in open_names]
        assert (open_behaviors, list_connections(pid, raw_server.port)) == ([], [])
        assert stack.children["worker"].ended() is None
        invariants.check_responses(stack, set(response_ids.values()))

    wrong_request_counts = {
        name: raw_server.requests[name]
        for name, case, _ in cases()
        if case.end.requests not in {None, raw_server.requests[name]}
    }
    assert wrong_request_counts == {}
    assert raw_server.requests["elsewhere"] == 0


def describe_mismatch(case: Case, response: Response) -> str:
    """The difference between a response and the expected end; empty if there is none."""
    actual_end = (response.status, response.output_text, response.error and response.error.code)
    if actual_end != (case.end.status, case.end.text, case.end.code):
        return f"{str(actual_end)[:200]} {response.error and response.error.message}"
    message = response.error.message if response.error else ""
    return "" if case.end.message in message and "sk-secret" not in message else message


def list_connections(pid: int, port: int) -> list[object]:
    """The connections of a process to a port."""
    connections = psutil.Process(pid).net_connections("tcp")
    return [connection for connection in connections if connection.raddr and connection.raddr.port == port]


def test_the_corpus_has_enough_cases_for_each_api() -> None:
    assert len(CORPUS) >= 25
    assert len({case.behavior for case in CORPUS}) == len(CORPUS)
    assert all(sum(api.name in case.apis for case in CORPUS) >= 25 for api in APIS)
