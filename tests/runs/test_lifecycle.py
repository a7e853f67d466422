"""The table of legal transitions, the choice of a tier, and response IDs."""

import pytest

from core import errors, ids
from core.config.tiers import Tier
from core.quota import tier_request
from core.wire import status as lifecycle
from core.wire.status import Status


def test_an_ended_response_has_no_legal_transition() -> None:
    assert all(not lifecycle.may_move(terminal, status) for terminal in lifecycle.TERMINAL for status in Status)


def test_every_status_can_be_reached_from_queued() -> None:
    reachable = {Status.QUEUED}
    for _ in Status:
        reachable |= {target for source in reachable for target in lifecycle.MOVES[source]}

    assert reachable == set(Status)


def test_a_response_is_never_completed_without_having_run() -> None:
    assert not lifecycle.may_move(Status.QUEUED, Status.COMPLETED)
    assert not lifecycle.may_move(Status.QUEUED, Status.INCOMPLETE)


@pytest.mark.parametrize(
    ("requested_tier", "rights", "expected_tier"),
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
def test_a_request_gets_its_tier_if_the_key_has_the_right(
    requested_tier: str | None, rights: tuple[str, ...], expected_tier: Tier
) -> None:
    assert tier_request.resolve_tier(requested_tier, rights).tier is expected_tier


def test_the_tier_no_limit_requires_the_right_no_limit() -> None:
    with pytest.raises(errors.Forbidden):
        tier_request.resolve_tier("no-limit", ())


def test_ids_are_unique_and_recognized_as_response_ids() -> None:
    new_ids = {ids.new_id("resp") for _ in range(1000)}

    assert len(new_ids) == 1000
    assert all(ids.is_response_id(new_id) for new_id in new_ids)
    assert not any(map(ids.is_response_id, ("", "resp_", "resp_" + "0" * 47, "resp_" + "0" * 48 + "\n", "x" * 53)))
