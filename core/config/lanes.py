"""Lanes: a queue each, so that workers can serve some tiers and not others."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import StringConstraints

from core import errors
from core.config.tiers import LANE, Tier

LaneName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Lanes:
    """Which lane the responses of each tier wait in, and which lanes there are.

    Args:
        by_tier: the lanes of some tiers; the others' is `default`.
    """

    def __init__(self, by_tier: Mapping[Tier, str]) -> None:
        self._by_tier = {tier: by_tier.get(tier, LANE) for tier in Tier}
        self.names = tuple(sorted(set(self._by_tier.values())))

    def lane_for(self, tier: Tier) -> str:
        """The lane a new response of a tier waits in."""
        return self._by_tier[tier]

    def chosen(self, text: str) -> tuple[str, ...]:
        """The lanes named in a text like `default,flex`; all where it names none.

        Raises:
            errors.BadSettings: one of them is not there; nothing would ever come from it.
        """
        asked = {name.strip() for name in text.split(",")} - {""}
        if unknown := sorted(asked - set(self.names)):
            raise errors.BadSettings(
                f"There is no lane '{unknown[0]}': a worker can serve {', '.join(self.names)}."
                " The table [lanes] of backburner.toml gives tiers lanes of their own."
            )
        return tuple(sorted(asked)) or self.names
