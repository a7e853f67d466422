"""The table of transitions, tiers and identifiers."""

import pytest

from core import errors, ids
from core.config.tiers import Tier
from core.quota import tier_request
from core.wire import status as lifecycle
from core.wire.status import Status


def test_a_response_that_ended_may_go_nowhere() -> None:
    assert all(not lifecycle.may_move(ended, status) for ended in lifecycle.TERMINAL for status in Status)


def test_every_status_can_be_reached_from_queued() -> None:
    reached = {Status.QUEUED}
    for _ in Status:
        reached |= {target for source in reached for target in lifecycle.MOVES[source]}

    assert reached == set(Status)


def test_a_response_is_never_completed_without_having_run() -> None:
    assert not lifecycle.may_move(Status.QUEUED, Status.COMPLETED)
    assert not lifecycle.may_move(Status.QUEUED, Status.INCOMPLETE)


@pytest.mark.parametrize(
    ("asked", "rights", "given"),
    [
        (None, (), Tier.DEFAULT),
        ("auto", (), Tier.DEFAULT),
        ("default", ("no-limit",), Tier.DEFAULT),
        ("flex", ("no-limit",), Tier.FLEX),
        ("no-limit", ("no-limit",), Tier.NO_LIMIT),
        ("priority", (), Tier.DEFAULT),
        ("priority", ("no-limit",), Tier.NO_LIMIT),
    ],
)
def test_the_tier_given_is_the_one_asked_for_as_far_as_the_key_allows(
    asked: str | None, rights: tuple[str, ...], given: Tier
) -> None:
    assert tier_request.requested(asked, rights).tier is given


def test_no_limit_needs_its_right() -> None:
    with pytest.raises(errors.Forbidden):
        tier_request.requested("no-limit", ())


def test_ids_are_unlike_each_other_and_known_as_ours() -> None:
    made = {ids.new("resp") for _ in range(1000)}

    assert len(made) == 1000
    assert all(ids.is_response_id(one) for one in made)
    assert not any(map(ids.is_response_id, ("", "resp_", "resp_" + "0" * 47, "resp_" + "0" * 48 + "\n", "x" * 53)))
