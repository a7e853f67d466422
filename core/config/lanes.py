"""Lanes: each lane has its own queue, so that a worker can serve a subset of the tiers."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import StringConstraints

from core import errors
from core.config.tiers import LANE, Tier

LaneName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Lanes:
    """The assignment of tiers to lanes.

    Args:
        by_tier: the configured lanes; all other tiers use `default`.
    """

    def __init__(self, by_tier: Mapping[Tier, str]) -> None:
        self.by_tier = {tier: by_tier.get(tier, LANE) for tier in Tier}
        self.names = tuple(sorted(set(self.by_tier.values())))

    def lane_for(self, tier: Tier) -> str:
        """Return the lane in which new responses of a tier wait."""
        return self.by_tier[tier]

    def parse_names(self, text: str) -> tuple[str, ...]:
        """Parse a comma-separated list of lanes such as `default,flex`; an empty list selects all lanes.

        Raises:
            errors.BadSettings: a lane is not configured, so it would never receive a response.
        """
        names = {name.strip() for name in text.split(",")} - {""}
        if unknown_names := sorted(names - set(self.names)):
            raise errors.BadSettings(
                f"There is no lane '{unknown_names[0]}': the configured lanes are {', '.join(self.names)}."
                " The table [lanes] of backburner.toml assigns tiers to lanes."
            )
        return tuple(sorted(names)) or self.names
