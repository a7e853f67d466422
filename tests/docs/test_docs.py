"""The documentation agrees with the code: names, defaults, tables, examples and SQL statements."""

import re
from pathlib import Path

import click
import psycopg
import pytest

from cli.main import main
from core.config import catalog
from core.config.catalog import Timeouts
from core.dispatch.waits.descriptions import CLIENT_REASONS
from core.dispatch.waits.dispatch_limits import WaitReason
from core.settings import PREFIX, Settings
from core.wire import status
from core.wire.request import UNSUPPORTED_PARAMETERS
from worker.consumer.pool import CLEANUP_TIMEOUT_S

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
DEPLOYMENT_FILES = [ROOT / "compose.yaml", ROOT / "Dockerfile", ROOT / "backburner.example.toml"]
SOURCES = [path for name in ("app", "cli", "core", "worker", "local") for path in (ROOT / name).rglob("*.py")]
# Environment variables with our prefix that are not settings.
OTHER_VARIABLES: frozenset[str] = frozenset()
DEFAULT_MAX_LINES = 150
MAX_LINES = {"README.md": 150, "CONTRIBUTING.md": 120, "0001-the-row-is-the-truth.md": 60}


def relative_path(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read_code_blocks(path: Path, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def find_page_code(path: Path) -> list[str]:
    """Return the inline code of a page, in text and tables."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return find_inline_code(prose)


def find_commands(path: Path) -> list[str]:
    """Return the lines of shell blocks, without comments, and the inline code of a page."""
    shell_lines = [line for block in read_code_blocks(path, "sh") for line in block.splitlines()]
    return [re.sub(r"(^|\s)#.*", "", line) for line in shell_lines] + find_page_code(path)


def read_table(path: Path, first_header: str) -> list[list[str]]:
    """Return the rows of cells of the table with this header in its first column."""
    rows = re.search(rf"^\| {re.escape(first_header)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", path.read_text(), re.MULTILINE)
    assert rows is not None
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1].splitlines()]


def find_inline_code(text: str) -> list[str]:
    """Return the inline code of a text."""
    return re.findall(r"`([^`]+)`", text)


def test_the_lifecycle_page_contains_the_status_changes_of_the_code() -> None:
    rows = read_table(ROOT / "docs/lifecycle.md", "status")
    documented_moves = {status_cell.strip("`"): set(find_inline_code(targets)) for status_cell, targets in rows}

    assert documented_moves == {source: set(targets) for source, targets in status.MOVES.items()}


def test_the_dispatch_page_lists_every_wait_reason_in_order_with_the_reason_for_clients() -> None:
    rows = [(row[0], row[-1]) for row in read_table(ROOT / "docs/dispatch.md", "reason")]

    assert rows == [(f"`{reason}`", f"`{CLIENT_REASONS[reason]}`") for reason in WaitReason]


@pytest.mark.parametrize("path", PAGES + DEPLOYMENT_FILES, ids=relative_path)
def test_every_documented_environment_variable_is_a_setting(path: Path) -> None:
    variables = {PREFIX + field.upper() for field in Settings.model_fields} | OTHER_VARIABLES

    assert set(re.findall(rf"{PREFIX}[A-Z][A-Z0-9_]*", path.read_text())) - variables == set()


def test_the_readme_states_the_defaults_of_the_code() -> None:
    def documented_default(field: str) -> str:
        default = Settings.model_fields[field].default
        return "none" if default is None else f"`{default}`"

    for name_cell, default_cell, _ in read_table(ROOT / "README.md", "name"):
        (variable,) = find_inline_code(name_cell)
        assert default_cell == documented_default(variable.removeprefix(PREFIX).lower()), variable


def test_the_readme_names_every_unsupported_parameter() -> None:
    text = (ROOT / "README.md").read_text()
    unsupported = text.partition("Refused with 400")[2].partition("Images")[0].partition(":")[2]

    assert find_inline_code(unsupported) == sorted(UNSUPPORTED_PARAMETERS)


@pytest.mark.parametrize("path", PAGES, ids=relative_path)
def test_every_documented_make_target_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    target_lists = [match for line in find_commands(path) for match in re.findall(r"\bmake((?: [a-z]+)+)", line)]

    assert {target for match in target_lists for target in match.split()} - targets == set()


@pytest.mark.parametrize("path", PAGES + DEPLOYMENT_FILES, ids=relative_path)
def test_every_documented_command_exists(path: Path) -> None:
    lines = find_commands(path) if path.suffix == ".md" else path.read_text().splitlines()
    for line in lines:
        for arguments in re.findall(r"\bbackburner((?: [a-z]+)+)", line):
            command: click.Command | None = main
            for argument in arguments.split():
                if isinstance(command, click.Group):
                    command = command.get_command(click.Context(command), argument)
                assert command is not None, f"backburner{arguments}"


@pytest.mark.parametrize("path", PAGES, ids=relative_path)
def test_every_documented_file_exists(path: Path) -> None:
    links = [path.parent / link for link in re.findall(r"\]\(([^):#]+)\)", path.read_text())]
    path_pattern = r"(?:app|core|worker|local|migrations|checks|tests|docs|requirements)/[\w./-]*"
    paths = [ROOT / span for span in find_page_code(path) if re.fullmatch(path_pattern, span)]

    assert [target for target in links + paths if not target.exists()] == []


def test_the_example_configuration_loads_and_states_the_defaults_of_the_code() -> None:
    models = catalog.load(ROOT / "backburner.example.toml").models

    assert len(models) == 4
    assert models["qwen3-32b"].timeouts == Timeouts()


def test_the_configuration_in_the_readme_loads(tmp_path: Path) -> None:
    (block,) = read_code_blocks(ROOT / "README.md", "toml")
    path = tmp_path / "backburner.toml"
    path.write_text(block)

    assert len(catalog.load(path).models) == 3


def test_the_python_in_the_readme_compiles() -> None:
    (block,) = read_code_blocks(ROOT / "README.md", "python")

    compile(block, "README.md", "exec")


def test_compose_kills_a_worker_only_after_its_drain_time() -> None:
    text = (ROOT / "compose.yaml").read_text()
    match = re.search(r'BACKBURNER_DRAIN_S: "(\d+)"\n +stop_grace_period: (\d+)s', text)

    assert match is not None
    drain_s, grace_s = int(match[1]), int(match[2])
    assert grace_s >= drain_s + 15 > drain_s + CLEANUP_TIMEOUT_S


def test_the_code_writes_every_documented_log_message() -> None:
    source = "".join(path.read_text() for path in SOURCES)
    messages = [
        message for row in read_table(ROOT / "docs/operations.md", "`msg`") for message in find_inline_code(row[0])
    ]

    assert messages
    assert [message for message in messages if f'"{message}"' not in source] == []


def test_every_sql_statement_on_the_operations_page_runs(database_url: str) -> None:
    statements = [
        part for block in read_code_blocks(ROOT / "docs/operations.md", "sql") for part in block.split(";\n") if part
    ]

    assert statements
    with psycopg.connect(database_url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.parametrize("path", [path for path in PAGES if path.name != "CHANGELOG.md"], ids=relative_path)
def test_no_page_exceeds_its_maximum_length(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES.get(path.name, DEFAULT_MAX_LINES)
