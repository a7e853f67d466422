"""Service tiers and their weights in dispatch."""

from collections.abc import Mapping
from enum import StrEnum


class Tier(StrEnum):
    """The tier of a response, which is the `service_tier` of the response object."""

    NO_LIMIT = "no-limit"
    DEFAULT = "default"
    OVER_LIMIT = "over-limit"
    FLEX = "flex"


WEIGHTS: Mapping[Tier, int] = {Tier.NO_LIMIT: 8, Tier.DEFAULT: 4, Tier.OVER_LIMIT: 1, Tier.FLEX: 1}

LANE = "default"  # the lane of every tier that backburner.toml does not assign to another lane
# The fraction of a lane's slots that `over-limit` responses leave free for responses within their limits.
RESERVE = 0.2
