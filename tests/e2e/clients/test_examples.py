"""Every example passes on a new stack with the packaged model, as it does for a new user."""

import subprocess
import sys
from pathlib import Path

from local.processes import environment

ROOT = Path(__file__).resolve().parents[3]


def test_every_example_passes_on_a_new_stack(tmp_path: Path) -> None:
    own_prefixes = ("BACKBURNER_", "OPENAI_", "MODEL")
    variables = {
        name: value for name, value in environment.process_variables().items() if not name.startswith(own_prefixes)
    }

    process = subprocess.run(
        [sys.executable, "-m", "examples"],
        cwd=ROOT,
        env={**variables, "BACKBURNER_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert process.returncode == 0, process.stdout + process.stderr
    results = [line for line in process.stdout.splitlines() if line.startswith(("PASS", "FAIL"))]
    scripts = {path.stem for path in (ROOT / "examples").rglob("*.py")} - {"__main__", "connection"}
    assert sorted(results) == [f"PASS {name}" for name in sorted(scripts)]
    assert "PASS cancel\n  resp_" in process.stdout
    assert not list((tmp_path / "home" / "run").glob("*.pid"))
