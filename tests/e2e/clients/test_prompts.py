"""Prompts on real processes: managed by the command line, used by the official client, and absent from all logs."""

import json

import pytest

from local.processes import environment
from tests.harness import forked
from tests.harness.stack import Stack
from tests.harness.waiting import until
from tests.model_server import ModelServer

TOML = """
name = "translate"
[template]
model = "scripted"
instructions = "You translate into {{language}}."
[[template.input]]
role = "user"
content = "Translate: {{text}}"
[template.variables]
text = {}
language = {default = "French"}
"""


class PromptsCommand:
    """Runs `backburner prompts` commands on the database of a deployment."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __call__(self, *arguments: str, stdin_text: str = "", expected_status: int = 0) -> str:
        """Run a command; return its output, or its error output if `expected_status` is not 0."""
        variables = {
            name: value for name, value in environment.process_variables().items() if not name.startswith("BACKBURNER_")
        }
        process = forked.run_command(["prompts", *arguments], variables | self._stack._env, stdin_text=stdin_text)
        assert process.returncode == expected_status, process.stderr
        assert "Traceback" not in process.stderr
        return process.stderr if expected_status else process.stdout


@pytest.fixture
def run_prompts(stack: Stack) -> PromptsCommand:
    return PromptsCommand(stack)


def test_the_command_line_creates_changes_and_deletes_prompts(run_prompts: PromptsCommand, tmp_path) -> None:
    file = tmp_path / "translate.toml"
    file.write_text(TOML)

    prompt = json.loads(run_prompts("create", str(file)))
    second_version = json.loads(
        run_prompts("revise", prompt["id"], "-", "--default", stdin_text='{"template": {"input": "Hi."}}')
    )
    changed_prompt = json.loads(run_prompts("change", prompt["id"], "--name", "greet", "--default-version", "1"))

    assert (prompt["name"], prompt["versions"], second_version["version"]) == ("translate", ["1"], "2")
    assert changed_prompt == prompt | {"name": "greet", "versions": ["1", "2"]}
    assert json.loads(run_prompts("show", prompt["id"])) == changed_prompt
    assert json.loads(run_prompts("show", prompt["id"], "--version", "2")) == second_version
    template = json.loads(run_prompts("show", prompt["id"], "--version", "1"))["template"]
    assert template["variables"]["language"] == {"type": "text", "default": "French"}
    assert run_prompts("list") == f"{prompt['id']}  1 of 2  greet\n"
    assert run_prompts("delete", prompt["id"]) == f"{prompt['id']} is deleted.\n"
    assert run_prompts("list") == ""


def test_the_command_line_reports_each_error_in_one_line(run_prompts: PromptsCommand, tmp_path) -> None:
    prompt_id = json.loads(run_prompts("create", "-", stdin_text=TOML))["id"]
    unknown_id = "pmpt_" + "0" * 48

    def error_message(*arguments: str, stdin_text: str = "") -> str:
        line = run_prompts(*arguments, stdin_text=stdin_text, expected_status=1)
        assert line.startswith("Error: ")
        assert line.count("\n") == 1
        return line.removeprefix("Error: ").strip()

    assert error_message("create", "-", stdin_text="{").startswith("<stdin> is neither JSON nor TOML: ")
    binary_file = tmp_path / "binary"
    binary_file.write_bytes(b"\xff\x00")
    assert error_message("create", str(binary_file)).startswith(f"{binary_file} is neither JSON nor TOML: ")
    assert error_message("create", "-", stdin_text='{"name": "n"}') == "Missing required parameter: 'template'."
    assert (
        error_message("create", "-", stdin_text='name = "n"\ntemplate = {}')
        == "A template needs 'instructions' or 'input'."
    )
    assert error_message("create", "-", stdin_text=TOML) == "The project already has a prompt named 'translate'."
    assert error_message("create", "-", "--project", "none", stdin_text=TOML) == "There is no project 'none'."
    assert "does not begin a placeholder" in error_message(
        "revise", prompt_id, "-", stdin_text='{"template": {"input": "{{#if}}"}}'
    )
    assert error_message("show", unknown_id) == f"Prompt with id '{unknown_id}' not found."
    assert error_message("show", prompt_id, "--version", "7") == f"Prompt with id '{prompt_id}' has no version '7'."
    assert error_message("change", prompt_id, "--default-version", "7") == "The prompt has no version '7'."
    assert error_message("delete", unknown_id) == f"Prompt with id '{unknown_id}' not found."


def test_the_official_client_uses_a_prompt_and_no_log_contains_its_variables(
    stack: Stack, models: ModelServer, run_prompts: PromptsCommand
) -> None:
    stack.up()
    prompt_id = json.loads(run_prompts("create", "-", stdin_text=TOML))["id"]
    secret = "hunter2hunter2"

    with stack.client() as client:
        response = client.responses.create(prompt={"id": prompt_id, "variables": {"text": secret}}, background=True)
        until(lambda: client.responses.retrieve(response.id).status == "completed")
        final_response = client.responses.retrieve(response.id)

    assert final_response.instructions == "You translate into French."
    assert final_response.prompt is not None
    assert (final_response.prompt.id, final_response.prompt.version, final_response.prompt.variables) == (
        prompt_id,
        "1",
        {"text": secret},
    )
    ((run,),) = models.stats()["by_tag"].values()
    assert [message["content"] for message in run["body"]["messages"]] == [
        "You translate into French.",
        f"Translate: {secret}",
    ]
    for process_name in ("api", "worker", "sweeper"):
        assert secret not in stack.log(process_name)
