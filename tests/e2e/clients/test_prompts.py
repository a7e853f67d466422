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


class Prompts:
    """`backburner prompts` on a deployment's database."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def __call__(self, *words: str, said: str = "", status: int = 0) -> str:
        """Run a command; return its output, or its error output if `status` is not 0."""
        inherited = {
            name: value for name, value in environment.inherited().items() if not name.startswith("BACKBURNER_")
        }
        done = forked.run(["prompts", *words], inherited | self._stack._env, said=said)
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if status else done.stdout


@pytest.fixture
def prompts(stack: Stack) -> Prompts:
    return Prompts(stack)


def test_the_command_line_keeps_prompts(prompts: Prompts, tmp_path) -> None:
    file = tmp_path / "translate.toml"
    file.write_text(TOML)

    made = json.loads(prompts("create", str(file)))
    second = json.loads(prompts("revise", made["id"], "-", "--default", said='{"template": {"input": "Hi."}}'))
    changed = json.loads(prompts("change", made["id"], "--name", "greet", "--default-version", "1"))

    assert (made["name"], made["versions"], second["version"]) == ("translate", ["1"], "2")
    assert changed == made | {"name": "greet", "versions": ["1", "2"]}
    assert json.loads(prompts("show", made["id"])) == changed
    assert json.loads(prompts("show", made["id"], "--version", "2")) == second
    template = json.loads(prompts("show", made["id"], "--version", "1"))["template"]
    assert template["variables"]["language"] == {"type": "text", "default": "French"}
    assert prompts("list") == f"{made['id']}  1 of 2  greet\n"
    assert prompts("delete", made["id"]) == f"{made['id']} is deleted.\n"
    assert prompts("list") == ""


def test_the_command_line_says_in_a_line_what_is_wrong(prompts: Prompts, tmp_path) -> None:
    taken = json.loads(prompts("create", "-", said=TOML))["id"]
    nobody = "pmpt_" + "0" * 48

    def error(*words: str, said: str = "") -> str:
        line = prompts(*words, said=said, status=1)
        assert line.startswith("Error: ")
        assert line.count("\n") == 1
        return line.removeprefix("Error: ").strip()

    assert error("create", "-", said="{").startswith("<stdin> is neither JSON nor TOML: ")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\x00")
    assert error("create", str(binary)).startswith(f"{binary} is neither JSON nor TOML: ")
    assert error("create", "-", said='{"name": "n"}') == "Missing required parameter: 'template'."
    assert error("create", "-", said='name = "n"\ntemplate = {}') == ("A template needs 'instructions' or 'input'.")
    assert error("create", "-", said=TOML) == "The project already has a prompt named 'translate'."
    assert error("create", "-", "--project", "none", said=TOML) == "There is no project 'none'."
    assert "does not begin a placeholder" in error("revise", taken, "-", said='{"template": {"input": "{{#if}}"}}')
    assert error("show", nobody) == f"Prompt with id '{nobody}' not found."
    assert error("show", taken, "--version", "7") == f"Prompt with id '{taken}' has no version '7'."
    assert error("change", taken, "--default-version", "7") == "The prompt has no version '7'."
    assert error("delete", nobody) == f"Prompt with id '{nobody}' not found."


def test_a_prompt_of_the_command_line_is_run_for_the_official_client_and_its_variables_are_logged_nowhere(
    stack: Stack, models: ModelServer, prompts: Prompts
) -> None:
    stack.up()
    prompt_id = json.loads(prompts("create", "-", said=TOML))["id"]
    secret = "hunter2hunter2"

    with stack.client() as client:
        made = client.responses.create(prompt={"id": prompt_id, "variables": {"text": secret}}, background=True)
        until(lambda: client.responses.retrieve(made.id).status == "completed")
        ended = client.responses.retrieve(made.id)

    assert ended.instructions == "You translate into French."
    assert ended.prompt is not None
    assert (ended.prompt.id, ended.prompt.version, ended.prompt.variables) == (prompt_id, "1", {"text": secret})
    ((seen,),) = models.stats()["by_tag"].values()
    assert [message["content"] for message in seen["body"]["messages"]] == [
        "You translate into French.",
        f"Translate: {secret}",
    ]
    for part in ("api", "worker", "sweeper"):
        assert secret not in stack.log(part)
