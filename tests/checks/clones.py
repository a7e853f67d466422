"""Creates git repositories for tests, with the git command."""

import subprocess
from pathlib import Path

from checks.repository import BASE_FILE, Repository

PYPROJECT = """
[tool.importlinter]
root_packages = ["app", "core", "bench"]

[[tool.importlinter.contracts]]
name = "Inside core"
containers = ["core"]
layers = ["responses | runs", "store : tables", "(errors)"]
ignore_imports = ["core.errors -> core.store"]
"""


class Clone(Repository):
    """A repository of one test; its first commit is the base commit."""

    @classmethod
    def create(cls, root: Path, files: dict[str, str]) -> "Clone":
        """Create a repository, commit these files, and write the ID of the commit to `.ci/commit-base`."""
        clone = cls(root)
        root.mkdir()
        clone.run_git("init", "-q", "-b", "main")
        clone.run_git("config", "user.name", "Test")
        clone.run_git("config", "user.email", "test@example.com")
        clone.set_base(clone.commit("Add the first files", files=files))
        return clone

    def write_files(self, files: dict[str, str]) -> None:
        """Write these files to the work tree."""
        for path, text in files.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)

    def set_base(self, commit: str) -> None:
        """Write the ID of the base commit to `.ci/commit-base`; do not commit the file."""
        self.write_files({BASE_FILE: f"{commit}\n"})

    def commit(self, message: str, files: dict[str, str]) -> str:
        """Write these files, commit all changes, and return the commit ID."""
        self.write_files(files)
        self.run_git("add", "--all")
        self.run_git("commit", "-q", "-m", message)
        return self.run_git("rev-parse", "HEAD").strip()

    def clone_shallow(self, root: Path, depth: int) -> "Clone":
        """Create a shallow clone with the last `depth` commits."""
        url = self.root.as_uri()
        subprocess.run(["git", "clone", "-q", "--depth", str(depth), url, str(root)], check=True)
        return Clone(root)


def python_lines(count: int) -> str:
    """Return the text of a Python file with `count` lines."""
    return "".join(f"x{n} = {n}\n" for n in range(count))
