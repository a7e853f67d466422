"""What backburner.toml says: models and the model servers behind them, projects' limits, tiers' lanes."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, model_validator

from core import errors
from core.config.lanes import LaneName, Lanes
from core.config.limits import ANY, Limits, ProjectLimits
from core.config.tiers import Tier
from core.settings import LONGEST_S

Capability = Literal["tools", "json_schema", "logprobs", "images", "files", "reasoning", "continue"]

_ONE_LINE = r"^[^\x00-\x1f\x7f]+\z"


class Timeouts(BaseModel):
    """Clocks of one run, in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_token: float = Field(default=120, gt=0, le=LONGEST_S)  # from sending the request to the first output
    idle: float = Field(default=60, gt=0, le=LONGEST_S)  # between two outputs
    run: float = Field(default=3600, gt=0, le=LONGEST_S)  # one run, from claim to end


class ModelConfig(BaseModel):
    """One public model name and the servers that answer for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: HttpUrl | None = None
    base_urls: tuple[HttpUrl, ...] = ()  # several that are asked in turn, instead of `base_url`
    api_key_env: str | None = None
    upstream_model: str | None = None
    api: Literal["chat_completions", "responses"] = "chat_completions"
    image_urls: Literal["pass", "fetch"] = "pass"  # who opens them: the model server, or the worker
    # How a server that speaks Chat Completions tells what the model thinks from what it says: in fields of their own,
    # by <think> tags in the text, or by tags of which the prompt's template has written the first.
    reasoning_format: Literal["field", "think_tags", "open_tag"] = "field"
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # of Chat Completions
    concurrency: int | None = Field(
        default=None, ge=1, le=2**31 - 1, strict=True
    )  # running at once on all its servers together
    # What the model can do; where nothing is said, nothing is known, and no request is refused for it.
    supports: frozenset[Capability] = frozenset()
    context_window: int | None = Field(default=None, ge=1, strict=True)  # tokens of prompt and answer together
    on_worker_lost: Literal["continue", "restart", "fail"] = "continue"
    timeouts: Timeouts = Timeouts()

    @model_validator(mode="after")
    def _somebody_answers(self) -> Self:
        if (self.base_url is None) == (not self.base_urls):
            raise ValueError("exactly one of base_url and base_urls must be there")
        if len(set(self.base_urls)) < len(self.base_urls):
            raise ValueError("base_urls names a server twice")
        for url in (self.base_url, *self.base_urls):
            if url is not None and (url.query or url.fragment):
                raise ValueError("a base URL has a query or a fragment, and a path must be put behind it")
        return self

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The base URLs of its servers, at least one, none with a slash at its end."""
        urls = self.base_urls if self.base_url is None else (self.base_url,)
        return tuple(str(url).rstrip("/") for url in urls)

    def lacks(self, capability: Capability) -> bool:
        """Whether the configuration says what the model can do, and this is not among it."""
        return "supports" in self.model_fields_set and capability not in self.supports

    def api_key(self) -> str | None:
        """The key for the model server, from the variable the configuration names."""
        return os.environ.get(self.api_key_env) if self.api_key_env else None  # noqa: TID251


class ProjectConfig(BaseModel):
    """What the configuration says of one project, or of all that it does not name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limits: dict[str, Limits] = Field(default_factory=dict)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[Annotated[str, Field(min_length=1, max_length=256, pattern=_ONE_LINE)], ModelConfig] = Field(
        default_factory=dict
    )
    projects: dict[str, ProjectConfig] = Field(default_factory=dict)
    lanes: dict[Tier, LaneName] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _limits_are_of_models(self) -> Self:
        for project, config in self.projects.items():
            for model in config.limits.keys() - self.models.keys() - {ANY}:
                raise ValueError(f"projects.{project}.limits.{model}: there is no model of that name")
        return self


class Catalog:
    """The configured models by public name, what projects may use of them, and the lanes of tiers."""

    def __init__(
        self, models: Mapping[str, ModelConfig], limits: ProjectLimits | None = None, lanes: Lanes | None = None
    ) -> None:
        self.models = models
        self.limits = limits or ProjectLimits({})
        self.lanes = lanes or Lanes({})

    def get(self, name: str) -> ModelConfig:
        """The model called `name`.

        Raises:
            errors.UnknownModel: none is.
        """
        try:
            return self.models[name]
        except KeyError:
            raise errors.UnknownModel(f"The model '{name}' does not exist.", param="model") from None


def load(path: Path | None) -> Catalog:
    """Read the configuration file at `path`, or `backburner.toml` here; without either there are no models.

    Raises:
        errors.BadSettings: the file cannot be read, or the named place in it is wrong.
    """
    if path is None and not Path("backburner.toml").exists():
        return Catalog({})
    path = path or Path("backburner.toml")
    try:
        raw = tomllib.loads(path.read_bytes().decode())
        file = _File.model_validate(raw)
        limits = ProjectLimits({name: config.limits for name, config in file.projects.items()})
        return Catalog(file.models, limits, Lanes(file.lanes))
    except OSError as error:
        raise errors.BadSettings(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.BadSettings(f"The configuration {path} is not TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        says = first["msg"].removeprefix("Value error, ")
        message = f"{place}: {says}" if place else says
        raise errors.BadSettings(f"The configuration {path}: {message}.") from error
