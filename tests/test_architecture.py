"""Rules for the source tree, the build files and the default settings."""

import ast
import re
from pathlib import Path

import pytest

from app.errors import STATUS
from core import errors
from core.dispatch import celery_app
from core.settings import Settings
from worker.consumer import tasks

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [
    path
    for name in ("app", "cli", "core", "worker", "local", "migrations", "bench", "checks")
    for path in (ROOT / name).rglob("*.py")
]


def class_tree(cls: type) -> set[type]:
    """A class and all its direct and indirect subclasses."""
    return {cls, *(descendant for subclass in cls.__subclasses__() for descendant in class_tree(subclass))}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_file_is_small_and_begins_with_a_docstring(path: Path) -> None:
    text = path.read_text()

    assert len(text.splitlines()) <= 350
    assert not text.strip() or text.startswith('"""')


def test_test_files_are_small() -> None:
    assert [path for path in (ROOT / "tests").rglob("*.py") if len(path.read_text().splitlines()) > 400] == []


def test_only_sql_modules_import_database_libraries() -> None:
    database_import = re.compile(r"^(?:import|from) (?:psycopg|psycopg_pool|sqlalchemy)\b", re.MULTILINE)
    # The packaged Postgres server creates its own database.
    permitted = {"core/database.py", "local/servers/postgres.py"}
    names = [path.relative_to(ROOT).as_posix() for path in SOURCES if database_import.search(path.read_text())]
    importers = {name for name in names if name.startswith(("app/", "cli/", "core/", "local/", "worker/"))}

    assert importers
    assert [name for name in importers - permitted if not name.endswith("_sql.py") and "/tables/" not in name] == []


def test_hand_written_sql_states_its_reason() -> None:
    """Statements that need not be fast are SQLAlchemy expressions, in which a wrong column name fails at import."""
    texts = {path: path.read_text() for path in SOURCES if path.name.endswith("_sql.py")}
    hand_written_texts = {
        path: text for path, text in texts.items() if "connection.execute(" in text or "cursor.execute(" in text
    }
    docstrings = {path: ast.get_docstring(ast.parse(text)) or "" for path, text in hand_written_texts.items()}

    assert 0 < len(docstrings) < len(texts)
    assert [path for path, docstring in docstrings.items() if "hand-written" not in docstring.lower()] == []


def test_the_outer_packages_import_no_sql_modules() -> None:
    outer_files = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in {"app", "cli", "worker"}]

    assert outer_files
    sql_import = re.compile(r"^(?:from|import) .*_sql\b", re.MULTILINE)
    assert [path for path in outer_files if sql_import.search(path.read_text())] == []


def test_every_error_that_a_request_may_raise_has_a_status() -> None:
    # These errors do not occur in requests; a request would get 500.
    internal_errors = {errors.Error, errors.BadSettings, errors.SchemaMismatch, errors.SealError, errors.StoreDataError}
    internal_errors |= class_tree(errors.ModelServerError)
    all_errors = {error for error in class_tree(errors.Error) if error.__module__ == "core.errors"}
    request_errors = all_errors - internal_errors
    errors_with_status = set(STATUS) - {errors.Error}

    assert request_errors
    assert [error for error in request_errors if not errors_with_status & set(error.__mro__)] == []


def test_the_task_of_the_doorbell_is_registered() -> None:
    app = celery_app.celery_app("redis://127.0.0.1:9/0")
    tasks.register(app, runner=None, on_message=lambda: None)
    app.finalize()

    assert celery_app.RUN_RESPONSE in app.tasks
    app.close()


def test_no_build_file_names_a_package_registry() -> None:
    files = [*(ROOT / "requirements").glob("*"), ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / "Dockerfile"]

    assert [path for path in files if "://" in path.read_text() and "pypi" in path.read_text().lower()] == []


def test_the_container_image_does_not_run_as_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]

    assert users
    assert users[-1] not in {"root", "0"}
    assert [line for line in lines if "--uid" in line or "useradd" in line or "adduser" in line]
    last_user_line = max(number for number, line in enumerate(lines) if line.startswith("USER "))
    assert not [line for line in lines[last_user_line:] if line.startswith("RUN ")]


def test_default_settings_are_consistent() -> None:
    settings = Settings()

    assert settings.renew_every_s * 2 <= settings.lease_s
    assert settings.queue_timeout_s <= settings.whole_timeout_s
