"""The settings and the configuration file: precedence, secrets, and errors, which are reported in one line."""

from pathlib import Path

import pytest

from core import errors, settings
from core.config import catalog


def load_settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> settings.Settings:
    """Load the settings with these environment variables, named here without `BACKBURNER_`."""
    for name, value in variables.items():
        monkeypatch.setenv(f"BACKBURNER_{name}", value)
    return settings.load()


def test_an_invalid_setting_is_reported_with_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.BadSettings, match="BACKBURNER_PORT"):
        load_settings(monkeypatch, PORT="none")


def test_a_lease_shorter_than_two_renewal_intervals_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.BadSettings, match="twice"):
        load_settings(monkeypatch, LEASE_S="5", RENEW_EVERY_S="4")


def test_the_environment_takes_precedence_over_the_file_of_a_running_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/stack.env").write_text(
        "BACKBURNER_DATABASE_URL=postgresql://stack\nBACKBURNER_REDIS_URL=redis://s\n"
    )

    loaded_settings = load_settings(monkeypatch, HOME=str(tmp_path), DATABASE_URL="postgresql://mine")

    assert loaded_settings.database_url is not None
    assert loaded_settings.redis_url is not None
    assert loaded_settings.database_url.get_secret_value() == "postgresql://mine"
    assert loaded_settings.redis_url.get_secret_value() == "redis://s"


def test_printed_settings_do_not_contain_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hidden" not in repr(
        load_settings(monkeypatch, DATABASE_URL="postgresql://u:hidden@h/d", API_KEY="sk-hidden")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[models", "not TOML"),
        ("[models.a]\n", "models.a: exactly one of base_url and base_urls"),
        ("[models.a]\nbase_urls = []\n", "models.a: exactly one of base_url and base_urls"),
        ("[models.a]\nbase_url = 'http://h/v1'\nbase_urls = ['http://i/v1']\n", "models.a: exactly one of"),
        ("[models.a]\nbase_urls = ['http://h/v1', 'nowhere']\n", "models.a.base_urls.1"),
        ("[models.a]\nbase_urls = ['http://h/v1', 'http://h:80/v1']\n", "models.a: base_urls lists a server twice"),
        ("[models.a]\nbase_url = 'nowhere'\n", "models.a.base_url"),
        ("[models.a]\nbase_url = 'http://h/v1'\nconcurency = 2\n", "models.a.concurency"),
        ("[models.a]\nbase_url = 'http://h/v1'\nconcurrency = 0\n", "models.a.concurrency"),
        ("[models.a]\nbase_url = 'http://h/v1'\n[models.a.timeouts]\nidle = -1\n", "models.a.timeouts.idle"),
        ("[projects.p.limits.'*']\nrequests = 1\n", r"projects.p.limits.\*.requests: This key is unknown"),
        ("[projects.p.limits.'*']\nqueued = 0\n", r"projects.p.limits.\*.queued"),
        ("[projects.p.limits.'*']\nrunning = true\n", r"projects.p.limits.\*.running"),
        ("[projects.p.limits.'*']\nrequests_per_minute = '60'\n", r"projects.p.limits.\*.requests_per_minute"),
        ("[projects.p.limits.'*']\ntokens_per_minute = 1.5\n", r"projects.p.limits.\*.tokens_per_minute"),
        ("[projects.p.limits.a]\nqueued = 1\n", "projects.p.limits.a: no model has this name"),
        ("[projects.p]\nlimit = 1\n", "projects.p.limit: This key is unknown"),
    ],
)
def test_an_invalid_configuration_is_reported_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "backburner.toml"
    path.write_text(text)

    with pytest.raises(errors.BadSettings, match=message) as error_info:
        catalog.load(path)
    assert "\n" not in str(error_info.value).strip()


def test_a_missing_configuration_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(errors.BadSettings, match="cannot be read"):
        catalog.load(tmp_path / "none.toml")


def test_the_key_of_a_model_server_is_read_from_the_configured_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "backburner.toml"
    path.write_text("[models.a]\nbase_url = 'http://h/v1'\napi_key_env = 'SOME_KEY'\n")
    monkeypatch.setenv("SOME_KEY", "s3cret")

    assert catalog.load(path).get("a").api_key() == "s3cret"


def test_a_base_url_and_a_list_of_base_urls_become_the_endpoints_of_a_model(tmp_path: Path) -> None:
    path = tmp_path / "backburner.toml"
    path.write_text("[models.a]\nbase_url = 'http://h/v1/'\n[models.b]\nbase_urls = ['http://h/v1', 'https://i/v1/']\n")

    models = catalog.load(path)

    assert models.get("a").endpoints == ("http://h/v1",)
    assert models.get("b").endpoints == ("http://h/v1", "https://i/v1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'[models."\xe9"]\nbase_url = "http://x"', "is not TOML: .*can't decode byte 0xe9"),
        (b"x = " + b"[" * 3000, "is not TOML: .*recursion"),
        (b'[models.""]\nbase_url = "http://x"', "at least 1 character"),
        (b'[models."a\\u0000"]\nbase_url = "http://x"', "should match pattern"),
        (b'[models.a]\nbase_url = "http://x"\nconcurrency = true', "models.a.concurrency: .*integer"),
        (b'[models.a]\nbase_url = "http://x/v1?api-key=hidden"', "a base URL must not have a query or a fragment"),
        (b'[models.a]\nbase_url = "http://x"\ntimeouts = {run = inf}', "models.a.timeouts.run: .*less than"),
        (b'[models.a]\nbase_url = "http://x"\ntimeouts = {idle = nan}', "models.a.timeouts.idle: "),
    ],
)
def test_an_unusable_configuration_is_rejected_with_a_one_line_message(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "backburner.toml"
    file.write_bytes(content)

    with pytest.raises(errors.BadSettings, match=message) as error_info:
        catalog.load(file)

    assert "\n" not in str(error_info.value)
    assert "hidden" not in str(error_info.value)


@pytest.mark.parametrize("value", ["inf", "1e300", "1e10"])
def test_a_duration_beyond_the_maximum_is_rejected(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(errors.BadSettings, match="BACKBURNER_QUEUE_TIMEOUT_S: must be at most 1000000000 seconds"):
        load_settings(monkeypatch, QUEUE_TIMEOUT_S=value)
