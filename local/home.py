"""The data folder of a local stack, which contains the data, logs, sockets and PID files of its parts."""

from dataclasses import dataclass
from pathlib import Path

from core import errors
from core.settings import STACK_ENV


@dataclass(frozen=True)
class Home:
    """The data folder of a stack (BACKBURNER_HOME), and the paths of the files in it."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "Home":
        """Create the folder and its subfolders, accessible only to their owner; an existing folder keeps its mode.

        Raises:
            errors.BadSettings: the folder cannot be created.
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
    """Replace the file atomically: no process can read a partial file, or a file with wider permissions than `mode`."""
    temporary_file = path.with_name(path.name + ".new")
    temporary_file.unlink(missing_ok=True)
    temporary_file.touch(mode=mode, exist_ok=False)
    temporary_file.write_text(text, encoding="utf-8")
    temporary_file.replace(path)


def write_private(path: Path, text: str) -> None:
    """Replace the file atomically with a file that only its owner can read."""
    write_atomically(path, text, mode=0o600)
