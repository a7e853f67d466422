"""However a model server misbehaves, the response ends, reports the cause, and leaves no connection open."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests import invariants
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer
from tests.model_server.misbehaving import CORPUS, Case
from tests.model_server.raw import RawServer
from tests.model_server.wire import Api, Chat, Responses

APIS: tuple[Api, ...] = (Chat(), Responses())
# Longer than every timeout of a run, even if a server is tried three times.
WITHIN_S = 40


def cases() -> Iterator[tuple[str, Case, Api]]:
    """Every case with each API that it applies to, under a name that is valid in a path."""
    for n, case in enumerate(CORPUS):
        for api in APIS:
            if api.name in case.apis:
                yield f"{api.name}-{n}", case, api


def configuration(path: Path, raw: RawServer) -> Path:
    """Write a configuration with one model per case."""
    tables = [
        f"""
[models.{name}]
base_url = "{case.base_url.format(raw=f"127.0.0.1:{raw.port}", name=name)}"
api = "{api.name}"
timeouts = {{ first_token = 3, idle = 2, run = 30 }}
"""
        for name, case, api in cases()
    ]
    path.write_text("".join(tables))
    return path


@pytest.fixture
def raw() -> Iterator[RawServer]:
    with RawServer({name: case.script(api) for name, case, api in cases()}) as raw:
        yield raw


def test_every_misbehaving_model_server_ends_its_response_truthfully_and_leaves_no_connection_open(
    raw: RawServer, database_url: str, models: ModelServer, tmp_path: Path
) -> None:
    with Stack(tmp_path / "home", database_url, configuration(tmp_path / "corpus.toml", raw), models) as stack:
        invariants.watch_ends(stack)
        stack.up(QUEUE_TIMEOUT_S="10")
        with stack.client() as client:
            accepted = {
                name: client.responses.create(model=name, input="hi", background=True).id for name, _, _ in cases()
            }
            until(stack.all_ended, within_s=WITHIN_S, every_s=0.2)
            ended = {name: client.responses.retrieve(response_id) for name, response_id in accepted.items()}
        wrong = {
            f"{api.name} that {case.does}": said for name, case, api in cases() if (said := amiss(case, ended[name]))
        }
        assert not wrong, "\n".join(f"{name}: {said}" for name, said in wrong.items())
        pid = stack.children["worker"].pid
        with contextlib.suppress(AssertionError):
            until(lambda: not (connected(pid, raw.port) or raw.open()), within_s=5)
        assert ([CORPUS[int(name.partition("-")[2])].does for name in raw.open()], connected(pid, raw.port)) == ([], [])
        assert stack.children["worker"].ended() is None
        invariants.check(stack, set(accepted.values()))

    asked = {name: raw.asked[name] for name, case, _ in cases() if case.end.asked not in {None, raw.asked[name]}}
    assert asked == {}
    assert raw.asked["elsewhere"] == 0


def amiss(case: Case, response: object) -> str:
    """How a response differs from the expected end; empty if it does not."""
    found = (response.status, response.output_text, response.error and response.error.code)
    if found != (case.end.status, case.end.text, case.end.code):
        return f"{str(found)[:200]} {response.error and response.error.message}"
    message = response.error.message if response.error else ""
    return "" if case.end.says in message and "sk-secret" not in message else message


def connected(pid: int, port: int) -> list[object]:
    """The worker's connections to the port."""
    found = psutil.Process(pid).net_connections("tcp")
    return [one for one in found if one.raddr and one.raddr.port == port]


def test_the_corpus_is_large_and_tries_each_api() -> None:
    assert len(CORPUS) >= 25
    assert len({case.does for case in CORPUS}) == len(CORPUS)
    assert all(sum(api.name in case.apis for case in CORPUS) >= 25 for api in APIS)
