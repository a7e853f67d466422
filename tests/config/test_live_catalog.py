"""A reload replaces the whole configuration or nothing, and its result is logged."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.config import catalog
from core.config.catalog import Catalog
from core.config.live_catalog import LiveCatalog

SERVER = 'base_url = "http://127.0.0.1:1/v1"\n'
ONE_MODEL = f"[models.a]\n{SERVER}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "backburner.toml"
    path.write_text(ONE_MODEL)
    return path


@pytest.fixture
def live_catalog(path: Path) -> LiveCatalog:
    return LiveCatalog(path, catalog.load(path))


def reload_file(live_catalog: LiveCatalog, path: Path, text: str, caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    """Write the file and reload it; return the fields of the log line."""
    path.write_text(text)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        live_catalog.reload()
    (record,) = caplog.records
    return {"msg": record.getMessage(), **vars(record)}


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (ONE_MODEL, {}),
        (ONE_MODEL + f"[models.b]\n{SERVER}[models.c]\n{SERVER}", {"added_models": "b,c"}),
        (f"[models.b]\n{SERVER}", {"added_models": "b", "removed_models": "a"}),
        (f"{ONE_MODEL}concurrency = 3\n", {"changed_models": "a"}),
        (f"{ONE_MODEL}supports = []\n", {"changed_models": "a"}),  # differs from a model without `supports`
        (f"{ONE_MODEL}[projects.p.limits.a]\nrunning = 1\n", {"projects_with_changed_limits": "p"}),
        (f'{ONE_MODEL}[lanes]\nflex = "default"\n', {}),  # the lane that `flex` has without this table
    ],
)
def test_a_reload_logs_the_names_of_the_models_and_projects_that_changed(
    live_catalog: LiveCatalog, path: Path, caplog: pytest.LogCaptureFixture, text: str, changes: dict[str, str]
) -> None:
    fields = reload_file(live_catalog, path, text, caplog)

    assert (fields["msg"], fields["path"]) == ("configuration reloaded", str(path))
    no_changes = dict.fromkeys(("added_models", "removed_models", "changed_models", "projects_with_changed_limits"), "")
    assert {key: fields[key] for key in no_changes} == no_changes | changes
    assert sorted(live_catalog.current.models) == sorted(catalog.load(path).models)
    assert live_catalog.state == "ok"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[models.a", "is not TOML"),
        (f"{ONE_MODEL}zzz = 1\n", "models.a.zzz: This key is unknown."),
        (f"{ONE_MODEL}[projects.p.limits.b]\nrunning = 1\n", "no model has this name"),
        ("# being written\n", "models: the file defines no model"),
        (f'[models.b]\n{SERVER}[lanes]\nflex = "slow"\n', "lanes: the lanes of tiers cannot change without a restart"),
    ],
)
def test_a_reload_of_an_unusable_file_keeps_the_configuration_and_logs_the_reason(
    live_catalog: LiveCatalog, path: Path, caplog: pytest.LogCaptureFixture, text: str, reason: str
) -> None:
    first_catalog = live_catalog.current
    live_catalog.subscribe(lambda _: pytest.fail("a failed reload called a subscriber"))
    fields = reload_file(live_catalog, path, text, caplog)

    assert (fields["msg"], fields["levelname"]) == ("configuration not reloaded", "ERROR")
    assert fields["cause"].startswith(f"The configuration {path}")
    assert reason in fields["cause"]
    assert live_catalog.current is first_catalog
    assert live_catalog.state == "not reloaded"


def test_a_repaired_file_is_used_and_the_state_is_ok_again(live_catalog: LiveCatalog, path: Path) -> None:
    path.unlink()
    live_catalog.reload()
    assert live_catalog.state == "not reloaded"

    path.write_text(f"[models.b]\n{SERVER}")
    live_catalog.reload()
    assert live_catalog.state == "ok"
    assert list(live_catalog.current.models) == ["b"]


def test_subscribers_get_the_new_catalog_in_order_even_if_one_of_them_fails(
    live_catalog: LiveCatalog, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[tuple[int, Catalog]] = []

    def fail(_: Catalog) -> None:
        raise LookupError("a bug")

    live_catalog.subscribe(lambda new_catalog: calls.append((1, new_catalog)))
    live_catalog.subscribe(fail)
    live_catalog.subscribe(lambda new_catalog: calls.append((2, new_catalog)))
    path.write_text(f"[models.b]\n{SERVER}")
    live_catalog.reload()

    assert calls == [(1, live_catalog.current), (2, live_catalog.current)]
    assert "a bug" in caplog.text


def test_a_process_started_without_a_file_reads_the_file_that_was_created_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    live_catalog = LiveCatalog(None, catalog.load(None))
    assert not live_catalog.current.models
    (tmp_path / "backburner.toml").write_text(ONE_MODEL)
    live_catalog.reload()

    assert list(live_catalog.current.models) == ["a"]


def test_a_sighup_that_arrives_before_the_receiver_starts_is_received_later() -> None:
    program = """
import os, signal, threading
from core.config import reload_signal
reload_signal.block()
os.kill(os.getpid(), signal.SIGHUP)
received = threading.Event()
reload_signal.start_receiver(received.set)
assert received.wait(10)
print("received")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(catalog.__file__).parents[2])}  # noqa: TID251
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False, env=environment
    )

    assert (process.returncode, process.stdout) == (0, "received\n"), process.stderr
