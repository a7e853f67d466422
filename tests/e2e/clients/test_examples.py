"""The examples, as a new user runs them: with their own stack and the packaged model."""

import subprocess
import sys
from pathlib import Path

from local.processes import environment

ROOT = Path(__file__).resolve().parents[3]


def test_every_example_passes_on_a_stack_of_its_own(tmp_path: Path) -> None:
    ours = ("BACKBURNER_", "OPENAI_", "MODEL")
    inherited = {name: value for name, value in environment.inherited().items() if not name.startswith(ours)}

    done = subprocess.run(
        [sys.executable, "-m", "examples"],
        cwd=ROOT,
        env={**inherited, "BACKBURNER_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith(("PASS", "FAIL"))]
    scripts = {path.stem for path in (ROOT / "examples").glob("*.py")} - {"__main__", "connection"}
    assert sorted(said) == [f"PASS {name}" for name in sorted(scripts)]
    assert not list((tmp_path / "home" / "run").glob("*.pid"))
