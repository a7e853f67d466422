"""What projects may use of models: the limits of backburner.toml, and which of them is meant."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

ANY = "*"


class Limits(BaseModel):
    """What one project may use of one model; None is without limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    requests_per_minute: int | None = Field(default=None, ge=1, le=10**9)
    tokens_per_minute: int | None = Field(default=None, ge=1, le=10**12)
    running: int | None = Field(default=None, ge=1, le=10**9)  # at once, over all workers
    queued: int | None = Field(default=None, ge=1, le=10**9)  # waiting for a worker


UNLIMITED = Limits()


class ProjectLimits:
    """The limits of all projects, by their names.

    Args:
        tables: by project, or "*", then by model, or "*".
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Limits]]) -> None:
        self.tables = tables

    def limited(self, project: str) -> bool:
        """Whether a project has a limit for any model."""
        return any(self.tables.get(name) for name in (project, ANY))

    def limits_for(self, project: str, model: str) -> Limits:
        """The limits of a project for a model: those of the one table that says it most precisely, whole.

        A project's own tables go before those of "*", a model's before "*". Nothing is inherited from a table that is
        passed over, so a table lifts every limit that it does not set. Each model counts by itself, in "*" too.
        """
        for name in (project, ANY):
            table = self.tables.get(name, {})
            for key in (model, ANY):
                if key in table:
                    return table[key]
        return UNLIMITED
