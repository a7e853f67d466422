"""Limits of projects for models, from backburner.toml, and the lookup of the limits that apply."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

ANY = "*"  # matches any project or any model


class Limits(BaseModel):
    """The limits of one project for one model; None means unlimited."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    requests_per_minute: int | None = Field(default=None, ge=1, le=10**9)
    tokens_per_minute: int | None = Field(default=None, ge=1, le=10**12)
    running: int | None = Field(default=None, ge=1, le=10**9)  # simultaneously running responses, over all workers
    queued: int | None = Field(default=None, ge=1, le=10**9)  # responses that wait for a worker


UNLIMITED = Limits()


class ProjectLimits:
    """The limits of all projects.

    Args:
        tables: limits by project name or "*", then by model name or "*".
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Limits]]) -> None:
        self.tables = tables

    def has_limits(self, project: str) -> bool:
        """Whether a project has limits for any model."""
        return any(self.tables.get(key) for key in (project, ANY))

    def limits_for(self, project: str, model: str) -> Limits:
        """Return the limits of a project for a model: the single most specific table that matches.

        The tables of the project take precedence over those of "*", and a model's table over "*". Tables are not
        merged: a limit that the matching table does not set does not apply. Usage is counted separately for each model,
        even if the matching table is that of "*".
        """
        for project_key in (project, ANY):
            table = self.tables.get(project_key, {})
            for model_key in (model, ANY):
                if model_key in table:
                    return table[model_key]
        return UNLIMITED
