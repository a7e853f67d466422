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
            'models.llama3.2: Extra inputs are not permitted. Did you mean [models."llama3.2"]',
        ),
        ("[models.a.b.c]\n" + SERVER, 'Did you mean [models."a.b"]'),
        (f'[model."x"]\n{SERVER}', "model: Extra inputs are not permitted. Did you mean `models`?"),
        (
            '[models.x]\nbase_ulr = "http://127.0.0.1:1/v1"\n',
            "models.x.base_ulr: Extra inputs are not permitted. Did you mean `base_url`?",
        ),
        (f"[models.x]\n{SERVER}zzz = 1\n", "models.x.zzz: Extra inputs are not permitted."),
        (f"[models.x]\n{SERVER}concurrency = 0\n", "models.x.concurrency: Input should be greater than or equal to 1."),
    ],
    ids=["a name with a dot", "a name with dots", "a wrong table", "a typo", "an unknown key", "an invalid value"],
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
