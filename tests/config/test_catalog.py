"""A mistake in backburner.toml is reported with its key and, if there is a similar valid key, with that key."""

from pathlib import Path

import pytest

from core import errors
from core.config import catalog

SERVER = 'base_url = "http://127.0.0.1:1/v1"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[models.llama3.2]\n" + SERVER,
            'models.llama3.2: This key is unknown. Did you mean [models."llama3.2"]',
        ),
        ("[models.a.b.c]\n" + SERVER, 'Did you mean [models."a.b"]'),
        (f'[model."x"]\n{SERVER}', "model: This key is unknown. Did you mean `models`?"),
        (
            '[models.x]\nbase_ulr = "http://127.0.0.1:1/v1"\n',
            "models.x.base_ulr: This key is unknown. Did you mean `base_url`?",
        ),
        (
            f"[models.x]\n{SERVER}[models.x.timeouts]\nfirst_tokn = 1\n",
            "models.x.timeouts.first_tokn: This key is unknown. Did you mean `first_token`?",
        ),
        ("[projects.p]\nlimit = 1\n", "projects.p.limit: This key is unknown. Did you mean `limits`?"),
        (
            '[projects.p.limits."*"]\nruning = 1\n',
            "projects.p.limits.*.runing: This key is unknown. Did you mean `running`?",
        ),
        (f"[models.x]\n{SERVER}zzz = 1\n", "models.x.zzz: This key is unknown."),
        (f"[models.x]\n{SERVER}concurrency = 0\n", "models.x.concurrency: Input should be greater than or equal to 1."),
    ],
    ids=[
        "a name with a dot",
        "a name with dots",
        "a wrong table",
        "a typo",
        "a typo in timeouts",
        "a typo in a project",
        "a typo in limits",
        "an unknown key",
        "an invalid value",
    ],
)
def test_a_mistake_in_the_configuration_is_reported_with_its_key_and_any_similar_key(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "backburner.toml"
    path.write_text(text)

    with pytest.raises(errors.BadSettings) as error_info:
        catalog.load(path)

    assert str(error_info.value).startswith(f"The configuration {path}: ")
    assert message in str(error_info.value)
    assert str(error_info.value).endswith(("?", ".", "quotes?"))
