"""The limits that apply to a project and a model."""

import pytest

from core.config.limits import UNLIMITED, Limits, ProjectLimits

OWN = Limits(requests_per_minute=1)
OWN_ANY = Limits(requests_per_minute=2)
ANYS = Limits(requests_per_minute=3)
ANYS_ANY = Limits(requests_per_minute=4, queued=5)


@pytest.mark.parametrize(
    ("project", "model", "meant"),
    [
        ("a", "m", OWN),
        ("a", "other", OWN_ANY),
        ("b", "m", ANYS),
        ("b", "other", ANYS_ANY),
        ("empty", "other", ANYS_ANY),
    ],
)
def test_the_most_precise_table_holds(project: str, model: str, meant: Limits) -> None:
    tables = {"a": {"*": OWN_ANY, "m": OWN}, "*": {"*": ANYS_ANY, "m": ANYS}, "empty": {}}

    assert ProjectLimits(tables).limits_for(project, model) == meant


def test_a_table_lifts_what_it_does_not_set() -> None:
    limits = ProjectLimits({"a": {"m": Limits(running=1), "*": Limits(queued=1)}})

    assert limits.limits_for("a", "m").queued is None


def test_where_no_table_is_meant_nothing_is_limited() -> None:
    limits = ProjectLimits({"a": {"m": OWN}})

    assert limits.limits_for("a", "other") == UNLIMITED
    assert limits.limits_for("b", "m") == UNLIMITED
    assert set(UNLIMITED.model_dump().values()) == {None}
