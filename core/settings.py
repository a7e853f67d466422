"""Settings of all parts, from the environment and from the file that `backburner up` writes to its data folder."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core import errors

PREFIX = "BACKBURNER_"
STACK_ENV = Path("run/stack.env")  # relative to the data folder; written by a running `backburner up`
MAX_DURATION_S = 1e9  # upper bound of every duration: longer ones overflow the clocks of kernels and databases


class Settings(BaseSettings):
    """All settings of all parts. Durations are in seconds (`_s`), sizes in bytes (`_bytes`)."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    home: Path = Path(".backburner")
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)
    flower_port: int = Field(default=5555, ge=1, le=65535)
    flower_basic_auth: SecretStr | None = None
    flower_read_only: bool = True
    config: Path | None = None
    database_url: SecretStr | None = None
    database_pooled: bool = False  # whether `database_url` is that of a pooler in transaction mode
    redis_url: SecretStr | None = None
    api_key: SecretStr | None = None
    secret_key: SecretStr | None = None
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    api_processes: int = Field(default=1, ge=1)
    api_threads: int = Field(default=400, ge=1)
    api_connections: int = Field(default=12, ge=1)  # to Postgres, per API process
    body_limit_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    strict_params: bool = False
    trusted_proxies: int = Field(default=0, ge=0, le=10)  # number of proxies whose X-Forwarded-* headers are used
    cors_origins: str = ""  # separated by commas or spaces
    key_cache_s: float = Field(default=5, ge=0, le=5)  # time for which a process caches API keys
    ping_s: float = Field(default=15, gt=0, le=15)  # interval of the keep-alive comments of streams
    stall_s: float = Field(default=30, ge=1, le=3600)  # a reader that accepts no data for this time is dropped

    worker_slots: int = Field(default=200, ge=1, le=1_000_000)
    worker_lanes: str = ""  # comma-separated; empty: all lanes
    worker_connections: int = Field(default=4, ge=2)  # to Postgres, per worker
    worker_health_port: int = Field(default=0, ge=0, le=65535)  # 0: no health server
    sweeper_health_port: int = Field(default=0, ge=0, le=65535)  # 0: no health server
    worker_seen_s: float = Field(default=15, gt=0)  # a worker is live for this time after it refreshed its registration
    deaf_after_s: float = Field(default=15, ge=3)  # a worker whose consumer receives nothing for this time is stalled
    drain_s: float = Field(default=20, ge=0)

    lease_s: float = Field(default=30, gt=0)
    renew_every_s: float = Field(default=5, gt=0)
    flush_every_s: float = Field(default=0.03, ge=0)  # interval at which a worker writes the events of its runs
    events_kept_s: float = Field(default=604_800, ge=60)  # retention of an event log after the response ended
    sweep_every_s: float = Field(default=1, gt=0)
    claim_within_s: float = Field(default=10, gt=0)  # time for the claim of a dispatched response; then it is recalled
    max_failures: int = Field(default=3, ge=1)  # a response that is lost this many times fails
    follow_s: float = Field(default=15, ge=3)  # a foreground response without a client is cancelled after this time
    wait_in_slot_s: float = Field(default=5, ge=0, le=5)  # maximum wait of a run for its model server
    wait_between_s: float = Field(default=15, gt=0)  # maximum backoff of hand-backs and circuits

    fetch_allow_private: bool = False
    fetch_timeout_s: float = Field(default=30, gt=0)
    image_limit_bytes: int = Field(default=20 * 1024 * 1024, ge=1)
    image_limit_pixels: int = Field(default=50_000_000, ge=1)
    file_limit_bytes: int = Field(default=32 * 1024 * 1024, ge=1)
    file_limit_pages: int = Field(default=500, ge=1)
    file_limit_characters: int = Field(default=1_000_000, ge=1)
    input_limit_bytes: int = Field(default=64 * 1024 * 1024, ge=1)
    output_limit_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, le=32 * 1024 * 1024)
    extract_timeout_s: float = Field(default=30, ge=1)
    extract_memory_bytes: int = Field(default=512 * 1024 * 1024, ge=256 * 1024 * 1024)
    extract_at_once: int = Field(default=2, ge=1)  # number of document readers per worker

    queue_timeout_s: float = Field(default=86_400, gt=0)
    whole_timeout_s: float = Field(default=172_800, gt=0)  # from create to end, including all waits and runs

    @field_validator("*")
    @classmethod
    def _check_duration(cls, value: Any) -> Any:
        if isinstance(value, float) and value > MAX_DURATION_S:
            raise ValueError(f"must be at most {MAX_DURATION_S:.0f} seconds")
        return value

    @model_validator(mode="after")
    def _check_lease(self) -> Self:
        if self.lease_s < 2 * self.renew_every_s:
            raise ValueError("lease_s must be at least twice renew_every_s")
        return self

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: str) -> str:
        for origin in value.replace(",", " ").split():
            if origin != "*" and not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+", origin):
                raise ValueError(f"'{origin}' is not an origin: use https://host, https://host:port or *")
        return value

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins from which web pages may send cross-origin requests."""
        return frozenset(self.cors_origins.replace(",", " ").split())

    @model_validator(mode="after")
    def _check_worker_registration(self) -> Self:
        if self.worker_seen_s < 2 * self.renew_every_s:
            raise ValueError("worker_seen_s must be at least twice renew_every_s")
        return self


def environment() -> Mapping[str, str]:
    """Return the environment, in which the variables named in backburner.toml are looked up."""
    return os.environ  # noqa: TID251


def load() -> Settings:
    """Read the settings from the environment and, with lower priority, from `STACK_ENV` in the data folder.

    Raises:
        errors.BadSettings: the value of a variable is invalid; the message names the variable.
    """
    home = Path(os.environ.get(PREFIX + "HOME", ".backburner"))  # noqa: TID251
    try:
        return Settings(_env_file=home / STACK_ENV)
    except ValidationError as error:
        first_error = error.errors()[0]
        name = PREFIX + "_".join(str(part) for part in first_error["loc"]).upper()
        raise errors.BadSettings(f"{name.rstrip('_')}: {first_error['msg'].removeprefix('Value error, ')}") from error
