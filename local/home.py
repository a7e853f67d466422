"""The folder of one installation on this machine: where its parts keep data, logs, sockets and pids."""

from dataclasses import dataclass
from pathlib import Path

from core import errors
from core.settings import STACK_ENV


@dataclass(frozen=True)
class Home:
    """An existing data folder; only its owner may look into it."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "Home":
        """Create what is missing of the folder; an existing one keeps its mode.

        Raises:
            errors.BadSettings: there can be no such folder.
        """
        home = cls(path.expanduser().resolve())
        try:
            for folder in (home.path, home.run, home.logs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise errors.BadSettings(f"BACKBURNER_HOME: {home.path}: {error.strerror}.") from error
        return home

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def stack_env(self) -> Path:
        return self.path / STACK_ENV

    def pid_file(self, name: str) -> Path:
        return self.run / f"{name}.pid"

    def health_file(self, name: str) -> Path:
        return self.run / f"{name}.health"

    def log_file(self, name: str) -> Path:
        return self.logs / f"{name}.log"


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace the file in one step: nobody ever reads half of it, or reads it who may not."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=mode, exist_ok=False)
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read, as `write_whole` does."""
    write_atomically(path, text, mode=0o600)
