"""The configuration of the complete system: a project with limits, a project without limits, and their models."""

from dataclasses import dataclass

from bench.run import Sizes

# The limits are too high to reject or delay any request, so that only the cost of checking them is measured.
_LIMITS = """
[projects.limited.limits."*"]
requests_per_minute = 100_000
tokens_per_minute = 200_000_000
running = 2_000
queued = 10_000
"""
# Limit `concurrency` of the main model of the project with limits.
_CONCURRENCY = 2_000
# Shape of the main models.
SHAPE = "20-tokens-at-once"
_TOKEN_INTERVAL_MS = 2
# Idle timeout of the hanging models, longer than any measurement.
_IDLE_TIMEOUT_S = 900


@dataclass(frozen=True)
class Project:
    """A project, and the names of its models that clients use; each model has a shape of the scripted model server."""

    name: str

    @property
    def model(self) -> str:
        """The model that sends 20 tokens in one piece."""
        return f"{self.name}-model"

    @property
    def hanging_model(self) -> str:
        """The model that sends 20 tokens in one piece and never ends its response."""
        return f"{self.name}-hanging"

    @property
    def paced_model(self) -> str:
        """The model that sends one token every 2 ms."""
        return f"{self.name}-paced"


LIMITED = Project("limited")
UNLIMITED = Project("unlimited")


def paced_shape(sizes: Sizes) -> str:
    """Return the shape of the paced models."""
    return f"{sizes.stream_token_count}-tokens-every-{_TOKEN_INTERVAL_MS}ms"


def config_text(base_url: str, paced_model_shape: str) -> str:
    """Return the text of the configuration file.

    Args:
        base_url: URL of the scripted model server.
        paced_model_shape: shape of the paced models.
    """
    return _LIMITS + "".join(
        f'[models."{name}"]\nbase_url = "{base_url}"\nupstream_model = "{shape}"\n{options}'
        for project in (LIMITED, UNLIMITED)
        for name, shape, options in (
            (project.model, SHAPE, f"concurrency = {_CONCURRENCY}\n" if project is LIMITED else ""),
            (project.hanging_model, f"{SHAPE}-then-hang", f"timeouts = {{ idle = {_IDLE_TIMEOUT_S} }}\n"),
            (project.paced_model, paced_model_shape, ""),
        )
    )
