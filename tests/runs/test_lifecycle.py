"""The table of legal transitions, the choice of a tier, and response IDs."""

import pytest

from core import errors, ids
from core.config.tiers import Tier
from core.quota import tier_request
from core.wire.status import MOVES, TERMINAL, Status, may_move


def test_an_ended_response_has_no_legal_transition() -> None:
    assert all(not may_move(terminal, target) for terminal in TERMINAL for target in Status)


def test_every_status_can_be_reached_from_queued() -> None:
    reachable = {Status.QUEUED}
    for _ in Status:
        reachable |= {target for source in reachable for target in MOVES[source]}

    assert reachable == set(Status)


def test_a_queued_response_can_become_neither_completed_nor_incomplete() -> None:
    assert not may_move(Status.QUEUED, Status.COMPLETED)
    assert not may_move(Status.QUEUED, Status.INCOMPLETE)


@pytest.mark.parametrize(
    ("service_tier", "rights", "expected_tier"),
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
def test_the_tier_follows_from_the_service_tier_and_the_rights_of_the_key(
    service_tier: str | None, rights: tuple[str, ...], expected_tier: Tier
) -> None:
    assert tier_request.resolve_tier(service_tier, rights).tier is expected_tier


def test_the_service_tier_no_limit_is_forbidden_without_the_right() -> None:
    with pytest.raises(errors.Forbidden):
        tier_request.resolve_tier("no-limit", ())


def test_new_response_ids_are_unique_and_only_well_formed_ids_are_recognized() -> None:
    new_ids = {ids.new_id("resp") for _ in range(1000)}

    assert len(new_ids) == 1000
    assert all(ids.is_response_id(new_id) for new_id in new_ids)
    assert not any(map(ids.is_response_id, ("", "resp_", "resp_" + "0" * 47, "resp_" + "0" * 48 + "\n", "x" * 53)))
