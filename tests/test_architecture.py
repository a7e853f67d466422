"""Rules for the source tree that need no reviewer."""

import re
from pathlib import Path

import pytest

from app import errors as http
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


def every(cls: type) -> set[type]:
    return {cls, *(found for sub in cls.__subclasses__() for found in every(sub))}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_file_is_small_and_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()

    assert len(text.splitlines()) <= 350
    assert not text.strip() or text.startswith('"""')


def test_test_files_are_small() -> None:
    assert [path for path in (ROOT / "tests").rglob("*.py") if len(path.read_text().splitlines()) > 400] == []


def test_only_modules_of_sql_know_the_drivers_of_postgres() -> None:
    drivers = re.compile(r"^(?:import|from) (?:psycopg|psycopg_pool|sqlalchemy)\b", re.MULTILINE)
    # The packaged server creates its own database.
    others = {"core/database.py", "local/servers/postgres.py"}
    found = {
        name
        for path in SOURCES
        if (name := path.relative_to(ROOT).as_posix()).split("/")[0] in {"app", "cli", "core", "local", "worker"}
        and drivers.search(path.read_text())
    }

    assert found
    assert {name for name in found - others if not name.endswith("_sql.py") and "/tables/" not in name} == set()


def test_edges_speak_use_cases_and_not_sql() -> None:
    edges = [path for path in SOURCES if path.relative_to(ROOT).parts[0] in {"app", "cli", "worker"}]

    assert edges
    assert [path for path in edges if re.search(r"^(?:from|import) .*_sql\b", path.read_text(), re.MULTILINE)] == []


def test_every_error_a_request_can_meet_has_a_status() -> None:
    """Errors of start-up and of runs never reach a request; any other one must not fall back to 500 unnoticed."""
    elsewhere = {errors.Error, errors.BadSettings, errors.SchemaMismatch, errors.NotSealed, errors.StoreRefused}
    elsewhere |= every(errors.ModelServerFailed)
    ours = {error for error in every(errors.Error) if error.__module__ == "core.errors"} - elsewhere
    known = set(http.STATUS) - {errors.Error}

    assert ours
    assert [error for error in ours if not known & set(error.__mro__)] == []


def test_every_task_that_is_rung_for_exists() -> None:
    app = celery_app.celery_app("redis://127.0.0.1:9/0")
    tasks.register(app, runner=None, heard=lambda: None)
    app.finalize()

    assert celery_app.RUN_RESPONSE in app.tasks
    app.close()


def test_no_tracked_file_names_a_package_registry() -> None:
    pins = [*(ROOT / "requirements").glob("*"), ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / "Dockerfile"]

    assert [path for path in pins if "://" in path.read_text() and "pypi" in path.read_text().lower()] == []


def test_defaults_of_settings_fit_each_other() -> None:
    found = Settings()

    assert found.renew_every_s * 2 <= found.lease_s
    assert found.queue_timeout_s <= found.whole_timeout_s
