"""Maps the `service_tier` of a request and the rights of its key to a tier."""

from collections.abc import Collection
from dataclasses import dataclass

from core import errors
from core.config.tiers import Tier
from core.tenants.rights import Right

# OpenAI's names for paid priority tiers; they select the best tier that the key may use.
PRIORITY_NAMES = frozenset({"priority", "scale", "fast", "ultrafast"})
NO_LIMIT_RIGHT = Right.NO_LIMIT.value


@dataclass(frozen=True)
class TierRequest:
    """The tier of a request within the limits of its project, and whether it may overflow to `over-limit`."""

    tier: Tier
    may_overflow: bool = False


def requested(asked: str | None, rights: Collection[str]) -> TierRequest:
    """Return the tier request for a `service_tier`.

    Args:
        asked: the `service_tier` of the request, if any.
        rights: the rights of the key.

    Raises:
        errors.Forbidden: `no-limit` was requested with a key that lacks the right.
    """
    if asked == "flex":
        return TierRequest(Tier.FLEX)
    if asked == "no-limit" and NO_LIMIT_RIGHT not in rights:
        raise errors.Forbidden("This key may not use service_tier 'no-limit'.", param="service_tier")
    if asked == "no-limit" or (asked in PRIORITY_NAMES and NO_LIMIT_RIGHT in rights):
        return TierRequest(Tier.NO_LIMIT)
    return TierRequest(Tier.DEFAULT, may_overflow=asked in {None, "auto"})
