"""The configuration file, backburner.toml: models and their servers, the limits of projects, and the lanes of tiers."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from core import errors
from core.config.lanes import LaneName, Lanes
from core.config.limits import ANY, Limits, ProjectLimits
from core.config.mistakes import Tables, describe_mistake
from core.config.tiers import Tier
from core.settings import MAX_DURATION_S, environment

Capability = Literal["tools", "json_schema", "logprobs", "images", "files", "reasoning", "continue"]

DEFAULT_PATH = Path("backburner.toml")
_ONE_LINE_PATTERN = r"^[^\x00-\x1f\x7f]+\z"


class Timeouts(BaseModel):
    """Timeouts of one run, in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_token: float = Field(default=120, gt=0, le=MAX_DURATION_S)  # from sending the request to the first output
    idle: float = Field(default=60, gt=0, le=MAX_DURATION_S)  # between two consecutive pieces of output
    run: float = Field(default=3600, gt=0, le=MAX_DURATION_S)  # from claim to end


class ModelConfig(BaseModel):
    """A model: its model servers, limits and capabilities. Clients select it by its public name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    _api_key: SecretStr | None = PrivateAttr(default=None)
    base_url: HttpUrl | None = None
    base_urls: tuple[HttpUrl, ...] = ()  # for several servers; set instead of `base_url`
    api_key_env: str | None = None
    upstream_model: str | None = None
    api: Literal["chat_completions", "responses"] = "chat_completions"
    image_urls: Literal["pass", "fetch"] = "pass"  # whether the model server or the worker downloads images
    # How a Chat Completions server marks reasoning: in a separate field, in <think> tags in the text, or only by the
    # closing tag, if the opening tag is part of the prompt template and the text therefore begins with reasoning.
    reasoning_format: Literal["field", "think_tags", "open_tag"] = "field"
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # Chat Completions only
    # Maximum number of simultaneously running responses, over all servers of the model.
    concurrency: int | None = Field(default=None, ge=1, le=2**31 - 1, strict=True)
    # Capabilities of the model. If not set, they are unknown and no request is rejected because of them.
    supports: frozenset[Capability] = frozenset()
    context_window: int | None = Field(default=None, ge=1, strict=True)  # in tokens, for prompt and output together
    on_worker_lost: Literal["continue", "restart", "fail"] = "continue"
    timeouts: Timeouts = Timeouts()

    @model_validator(mode="after")
    def _check_base_urls(self) -> Self:
        if (self.base_url is None) == (not self.base_urls):
            raise ValueError("exactly one of base_url and base_urls must be set")
        if len(set(self.base_urls)) < len(self.base_urls):
            raise ValueError("base_urls lists a server twice")
        for url in (self.base_url, *self.base_urls):
            if url is not None and (url.query or url.fragment):
                raise ValueError("a base URL must not have a query or a fragment, because a path is appended to it")
        return self

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The base URLs of the servers: at least one, without trailing slashes."""
        urls = self.base_urls if self.base_url is None else (self.base_url,)
        return tuple(str(url).rstrip("/") for url in urls)

    def is_same_as(self, other: "ModelConfig") -> bool:
        """Whether another model has the same configuration; an empty `supports` differs from one that is not set."""
        return self == other and self.model_fields_set == other.model_fields_set

    def lacks(self, capability: Capability) -> bool:
        """Whether the configuration lists the capabilities of the model, and the list does not contain `capability`."""
        return "supports" in self.model_fields_set and capability not in self.supports

    @model_validator(mode="after")
    def _read_api_key(self, info: ValidationInfo) -> Self:
        key = (info.context or {}).get(self.api_key_env) if self.api_key_env else None
        self._api_key = None if key is None else SecretStr(key)
        return self

    def api_key(self) -> str | None:
        """Return the API key for the model server, as read from the variable `api_key_env` when the file was loaded."""
        return None if self._api_key is None else self._api_key.get_secret_value()


class ProjectConfig(BaseModel):
    """The configuration of one project, or of "*", which is the default for all projects."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limits: dict[str, Limits] = Field(default_factory=dict)


class _ConfigFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    models: dict[Annotated[str, Field(min_length=1, max_length=256, pattern=_ONE_LINE_PATTERN)], ModelConfig] = Field(
        default_factory=dict
    )
    projects: dict[str, ProjectConfig] = Field(default_factory=dict)
    lanes: dict[Tier, LaneName] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_limit_models(self) -> Self:
        for project, config in self.projects.items():
            for model in config.limits.keys() - self.models.keys() - {ANY}:
                raise ValueError(f"projects.{project}.limits.{model}: no model has this name")
        return self


class Catalog:
    """The configured models by public name, the limits of projects, and the lanes of tiers."""

    def __init__(
        self, models: Mapping[str, ModelConfig], limits: ProjectLimits | None = None, lanes: Lanes | None = None
    ) -> None:
        self.models = models
        self.limits = limits or ProjectLimits({})
        self.lanes = lanes or Lanes({})

    @property
    def concurrency(self) -> dict[str, int | None]:
        """The maximum number of simultaneously running responses of each model; None means unlimited."""
        return {name: model.concurrency for name, model in self.models.items()}

    def get(self, name: str) -> ModelConfig:
        """Return the model called `name`.

        Raises:
            errors.UnknownModel: the configuration contains no such model.
        """
        try:
            return self.models[name]
        except KeyError:
            raise errors.UnknownModel(f"The model '{name}' does not exist.", param="model") from None


_TABLES: Tables = {
    (): _ConfigFile,
    ("models", "*"): ModelConfig,
    ("models", "*", "timeouts"): Timeouts,
    ("projects", "*"): ProjectConfig,
    ("projects", "*", "limits", "*"): Limits,
}


def load(path: Path | None) -> Catalog:
    """Read the configuration file at `path`, or `backburner.toml` in the current folder.

    Returns:
        The catalog; it is empty if `path` is None and `backburner.toml` does not exist.

    Raises:
        errors.BadSettings: the file cannot be read or is invalid; the message names the invalid key.
    """
    if path is None and not DEFAULT_PATH.exists():
        return Catalog({})
    path = path or DEFAULT_PATH
    try:
        values = tomllib.loads(path.read_bytes().decode())
        file = _ConfigFile.model_validate(values, context=environment())
        limits = ProjectLimits({name: config.limits for name, config in file.projects.items()})
        return Catalog(file.models, limits, Lanes(file.lanes))
    except OSError as error:
        raise errors.BadSettings(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise errors.BadSettings(f"The configuration {path} is not TOML: {error}.") from error
    except ValidationError as error:
        raise errors.BadSettings(f"The configuration {path}: {describe_mistake(error.errors()[0], _TABLES)}") from error
