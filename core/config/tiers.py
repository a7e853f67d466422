"""Service tiers, and their weights in dispatch."""

from collections.abc import Mapping
from enum import StrEnum


class Tier(StrEnum):
    """The tier a response runs in; `service_tier` of every response object."""

    NO_LIMIT = "no-limit"
    DEFAULT = "default"
    OVER_LIMIT = "over-limit"
    FLEX = "flex"


WEIGHTS: Mapping[Tier, int] = {Tier.NO_LIMIT: 8, Tier.DEFAULT: 4, Tier.OVER_LIMIT: 1, Tier.FLEX: 1}

LANE = "default"  # of every tier to which backburner.toml gives no other
# The part of a lane's slots that `over-limit` leaves free, for those who are inside their limits.
RESERVE = 0.2
