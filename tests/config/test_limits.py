"""The limits that apply to a project and a model."""

import pytest

from core.config.limits import UNLIMITED, Limits, ProjectLimits

PROJECT_MODEL = Limits(requests_per_minute=1)
PROJECT_ANY = Limits(requests_per_minute=2)
ANY_MODEL = Limits(requests_per_minute=3)
ANY_ANY = Limits(requests_per_minute=4, queued=5)


@pytest.mark.parametrize(
    ("project", "model", "expected_limits"),
    [
        ("a", "m", PROJECT_MODEL),
        ("a", "other", PROJECT_ANY),
        ("b", "m", ANY_MODEL),
        ("b", "other", ANY_ANY),
        ("empty", "other", ANY_ANY),
    ],
)
def test_the_most_specific_table_applies(project: str, model: str, expected_limits: Limits) -> None:
    tables = {"a": {"*": PROJECT_ANY, "m": PROJECT_MODEL}, "*": {"*": ANY_ANY, "m": ANY_MODEL}, "empty": {}}

    assert ProjectLimits(tables).limits_for(project, model) == expected_limits


def test_a_limit_that_the_matching_table_does_not_set_is_unlimited() -> None:
    limits = ProjectLimits({"a": {"m": Limits(running=1), "*": Limits(queued=1)}})

    assert limits.limits_for("a", "m").queued is None


def test_a_project_without_a_matching_table_is_unlimited() -> None:
    limits = ProjectLimits({"a": {"m": PROJECT_MODEL}})

    assert limits.limits_for("a", "other") == UNLIMITED
    assert limits.limits_for("b", "m") == UNLIMITED
    assert set(UNLIMITED.model_dump().values()) == {None}
