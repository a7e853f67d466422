"""The output of `backburner projects usage` in all formats."""

import json

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from core.bootstrap import Core
from core.runs.ends import AttemptUsage
from core.settings import Settings
from tests.harness.engine import create_caller, register_worker, submit
from tests.quota.usage import end_response


@pytest.fixture
def run_usage(core: Core, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """A function that runs the command after responses of two projects have ended."""
    register_worker(core)
    first_caller, second_caller = create_caller(core, "first"), create_caller(core, "second")
    for project_caller, tier in ((first_caller, "default"), (first_caller, "flex"), (second_caller, "flex")):
        end_response(
            core,
            submit(core, project_caller, service_tier=tier),
            AttemptUsage(10, 2000, estimated=tier == "flex", cached_tokens=1),
        )
    for name in ("home", "config"):
        monkeypatch.setenv(f"BACKBURNER_{name.upper()}", str(getattr(settings, name)))
    for name in ("database_url", "redis_url"):
        monkeypatch.setenv(f"BACKBURNER_{name.upper()}", getattr(settings, name).get_secret_value())

    def run_command(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["projects", "usage", *arguments])

    return run_command


def test_usage_is_printed_as_a_table_by_project_and_model(run_usage) -> None:
    assert run_usage().output == (
        "project  model     requests  attempts  input tokens  cached tokens  output tokens  reasoning tokens  estimated\n"
        "first    scripted         2         2            20              2           4000                 0          1\n"
        "second   scripted         1         1            10              1           2000                 0          1\n"
    )


def test_usage_is_printed_as_csv_and_as_json(run_usage) -> None:
    assert run_usage("--by", "tier", "--format", "csv").output == (
        "tier,requests,attempts,input_tokens,cached_tokens,output_tokens,reasoning_tokens,estimated\n"
        "default,1,1,10,1,2000,0,0\n"
        "flex,2,2,20,2,4000,0,2\n"
    )
    (row,) = json.loads(run_usage("--by", "project,day", "--project", "second", "--format", "json").output)
    assert (row["project"], row["requests"], row["output_tokens"]) == ("second", 1, 2000)
    assert len(row["day"]) == len("2026-01-01")


def test_a_period_without_usage_has_no_rows_in_any_format(run_usage) -> None:
    assert run_usage("--until", "2020-01-01").output == "No usage.\n"
    assert run_usage("--until", "2020-01-01", "--format", "csv").output == ""
    assert json.loads(run_usage("--until", "2020-01-01", "--format", "json").output) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--by", "project,colour"), "'colour' is not one of project, key, model, tier, day."),
        (("--project", "third"), "There is no project 'third'."),
        (("--since", "yesterday"), "does not match the format"),
    ],
)
def test_an_invalid_argument_is_reported_with_the_reason(run_usage, arguments: tuple[str, ...], message: str) -> None:
    result = run_usage(*arguments)

    assert result.exit_code != 0
    assert message in result.output
