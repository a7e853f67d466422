"""The documentation agrees with the program: names, defaults, tables, examples and statements."""

import re
from pathlib import Path

import click
import psycopg
import pytest

from cli.main import main
from core.config import catalog
from core.config.catalog import Timeouts
from core.settings import PREFIX, Settings
from core.wire import status
from core.wire.request import UNSUPPORTED
from worker.consumer.pool import CLEANUP_S

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
DEPLOYMENT = [ROOT / "compose.yaml", ROOT / "Dockerfile", ROOT / "backburner.example.toml"]
SOURCES = [path for name in ("app", "cli", "core", "worker", "local") for path in (ROOT / name).rglob("*.py")]
# Variables with our prefix that are not settings; no other code reads any.
NO_SETTINGS: frozenset[str] = frozenset()
MOST_LINES = {"README.md": 150, "CONTRIBUTING.md": 120, "0001-the-row-is-the-truth.md": 60}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def fences(path: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def spans(path: Path) -> list[str]:
    """The inline code of a page, in text and tables."""
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", prose)


def commands(path: Path) -> list[str]:
    """Everything that a reader may type: shell blocks without their comments, and inline code."""
    return [re.sub(r"(^|\s)#.*", "", line) for block in fences(path, "sh") for line in block.splitlines()] + spans(path)


def table(path: Path, first_header: str) -> list[list[str]]:
    """The cells of the table with this first column header."""
    rows = re.search(rf"^\| {re.escape(first_header)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", path.read_text(), re.MULTILINE)
    assert rows is not None
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows[1].splitlines()]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_lifecycle_page_has_the_moves_of_the_code() -> None:
    moves = {code(row[0])[0]: set(code(row[1])) for row in table(ROOT / "docs/lifecycle.md", "status")}

    assert moves == {source: set(targets) for source, targets in status.MOVES.items()}


@pytest.mark.parametrize("path", PAGES + DEPLOYMENT, ids=name)
def test_every_variable_that_is_named_is_a_setting(path: Path) -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields} | NO_SETTINGS

    assert set(re.findall(rf"{PREFIX}[A-Z][A-Z0-9_]*", path.read_text())) - known == set()


def test_the_readme_gives_the_defaults_of_the_code() -> None:
    def written(field: str) -> str:
        default = Settings.model_fields[field].default
        return "none" if default is None else f"`{default}`"

    rows = [(code(row[0])[0], row[1]) for row in table(ROOT / "README.md", "name")]

    assert rows == [(variable, written(variable.removeprefix(PREFIX).lower())) for variable, _ in rows]


def test_the_readme_names_every_parameter_that_is_refused() -> None:
    text = (ROOT / "README.md").read_text()
    refused = text.partition("Refused with 400")[2].partition("Images")[0].partition(":")[2]

    assert code(refused) == sorted(UNSUPPORTED)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = [found for line in commands(path) for found in re.findall(r"\bmake((?: [a-z]+)+)", line)]

    assert {target for found in named for target in found.split()} - targets == set()


@pytest.mark.parametrize("path", PAGES + DEPLOYMENT, ids=name)
def test_every_command_that_is_named_exists(path: Path) -> None:
    lines = commands(path) if path.suffix == ".md" else path.read_text().splitlines()
    for line in lines:
        for words in re.findall(r"\bbackburner((?: [a-z]+)+)", line):
            found: click.Command | None = main
            for word in words.split():
                if isinstance(found, click.Group):
                    found = found.get_command(click.Context(found), word)
                assert found is not None, f"backburner{words}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    links = [path.parent / link for link in re.findall(r"\]\(([^):#]+)\)", path.read_text())]
    ours = r"(?:app|core|worker|local|migrations|checks|tests|docs|requirements)/[\w./-]*"
    paths = [ROOT / span for span in spans(path) if re.fullmatch(ours, span)]

    assert [found for found in links + paths if not found.exists()] == []


def test_the_example_configuration_loads_and_gives_the_defaults_of_the_code() -> None:
    models = catalog.load(ROOT / "backburner.example.toml").models

    assert len(models) == 4
    assert models["qwen3-32b"].timeouts == Timeouts()


def test_the_configuration_in_the_readme_loads(tmp_path: Path) -> None:
    (block,) = fences(ROOT / "README.md", "toml")
    path = tmp_path / "backburner.toml"
    path.write_text(block)

    assert len(catalog.load(path).models) == 3


def test_the_python_in_the_readme_compiles() -> None:
    (block,) = fences(ROOT / "README.md", "python")

    compile(block, "README.md", "exec")


def test_compose_lets_a_worker_drain_before_it_is_killed() -> None:
    text = (ROOT / "compose.yaml").read_text()
    found = re.search(r'BACKBURNER_DRAIN_S: "(\d+)"\n +stop_grace_period: (\d+)s', text)

    assert found is not None
    assert int(found[2]) >= int(found[1]) + 15 > int(found[1]) + CLEANUP_S


def test_every_log_line_that_is_explained_is_written_somewhere() -> None:
    source = "".join(path.read_text() for path in SOURCES)
    messages = [message for row in table(ROOT / "docs/operations.md", "`msg`") for message in code(row[0])]

    assert messages
    assert [message for message in messages if f'"{message}"' not in source] == []


def test_every_statement_in_the_operations_page_runs(database_url: str) -> None:
    statements = [part for block in fences(ROOT / "docs/operations.md", "sql") for part in block.split(";\n") if part]

    assert statements
    with psycopg.connect(database_url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.mark.parametrize("path", [path for path in PAGES if path.name != "CHANGELOG.md"], ids=name)
def test_pages_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES.get(path.name, 150)
