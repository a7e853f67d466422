"""The models' file of the measured system, and who calls it: one project with limits, one without."""

from dataclasses import dataclass

from bench.run import Sizes

# Limits are high enough not to refuse or delay anything; what is measured is the cost of counting.
_LIMITS = """
[projects.limited.limits."*"]
requests_per_minute = 100_000
tokens_per_minute = 200_000_000
running = 2_000
queued = 10_000
"""
_CONCURRENCY = 2_000
SHAPE = "20-tokens-at-once"
_PACED_MS = 2
# A response that has said everything but its end may stay so for as long as a measurement takes.
_IDLE_S = 900


@dataclass(frozen=True)
class Side:
    """A project and its models, by the names that clients use; all are kinds of the scripted model."""

    project: str

    @property
    def model(self) -> str:
        """20 tokens at once."""
        return f"{self.project}-model"

    @property
    def hanging(self) -> str:
        """20 tokens at once, and no end."""
        return f"{self.project}-hanging"

    @property
    def paced(self) -> str:
        """A token each few milliseconds."""
        return f"{self.project}-paced"


LIMITED = Side("limited")
UNLIMITED = Side("unlimited")


def paced_shape(sizes: Sizes) -> str:
    """The shape of the models that pace their tokens."""
    return f"{sizes.stream_tokens}-tokens-every-{_PACED_MS}ms"


def text(base_url: str, paced: str) -> str:
    """The file.

    Args:
        paced: the shape of the models that pace their tokens.
    """
    return _LIMITS + "".join(
        f'[models."{name}"]\nbase_url = "{base_url}"\nupstream_model = "{shape}"\n{more}'
        for side in (LIMITED, UNLIMITED)
        for name, shape, more in (
            (side.model, SHAPE, f"concurrency = {_CONCURRENCY}\n" if side is LIMITED else ""),
            (side.hanging, f"{SHAPE}-then-hang", f"timeouts = {{ idle = {_IDLE_S} }}\n"),
            (side.paced, paced, ""),
        )
    )
