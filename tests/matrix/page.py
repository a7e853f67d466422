"""Generates the tables of docs/model-servers.md: `python -m tests.matrix.page`."""

import re
from pathlib import Path

from tests.matrix.features import FEATURES
from tests.model_server.misbehaving import FAILING_CASES, VALID_CASES

PAGE = Path(__file__).resolve().parents[2] / "docs/model-servers.md"
TABLE_MARKER = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def features() -> str:
    """The table of features by API."""
    lines = ["| feature | `chat_completions` | `responses` | packaged model |", "|---|---|---|---|"]
    for feature in FEATURES:
        test = f"`{feature.packaged}`" if feature.packaged else ""
        lines.append(f"| {feature.name} | {feature.chat_text} | {feature.responses_text} | {test} |")
    return "\n".join(lines)


def corpus() -> str:
    """The table of misbehaving model servers and their outcomes."""
    behaviors = "; ".join(case.behavior for case in VALID_CASES)
    lines = ["| a server that | ends the response as |", "|---|---|", f"| {behaviors} | `completed` |"]
    codes = sorted({case.end.code or "" for case in FAILING_CASES})
    for code in codes:
        behaviors = "; ".join(case.behavior for case in FAILING_CASES if case.end.code == code)
        lines.append(f"| {behaviors} | `failed`, `{code}` |")
    return "\n".join(lines)


TABLES = {"features": features, "corpus": corpus}


def page(text: str) -> str:
    """The text of the page with its tables replaced by newly generated ones."""
    return TABLE_MARKER.sub(lambda mark: f"{mark[1]}\n{TABLES[mark[2]]()}\n\n{mark[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
