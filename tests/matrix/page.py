"""Generates the tables of docs/model-servers.md: `python -m tests.matrix.page`."""

import re
from pathlib import Path

from tests.matrix.features import FEATURES
from tests.model_server.misbehaving import FAILING_CASES, VALID_CASES

PAGE = Path(__file__).resolve().parents[2] / "docs/model-servers.md"
TABLE_MARKER = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def feature_table() -> str:
    """Return the table of features by API."""
    lines = ["| feature | `chat_completions` | `responses` | packaged model |", "|---|---|---|---|"]
    for feature in FEATURES:
        test_cell = f"`{feature.packaged_test}`" if feature.packaged_test else ""
        lines.append(f"| {feature.name} | {feature.chat_text} | {feature.responses_text} | {test_cell} |")
    return "\n".join(lines)


def corpus_table() -> str:
    """Return the table of misbehaving model servers and of the ends of their responses."""
    behaviors = "; ".join(case.behavior for case in VALID_CASES)
    lines = ["| a server that | ends the response as |", "|---|---|", f"| {behaviors} | `completed` |"]
    codes = sorted({case.end.code or "" for case in FAILING_CASES})
    for code in codes:
        behaviors = "; ".join(case.behavior for case in FAILING_CASES if case.end.code == code)
        lines.append(f"| {behaviors} | `failed`, `{code}` |")
    return "\n".join(lines)


TABLES = {"features": feature_table, "corpus": corpus_table}


def page(text: str) -> str:
    """Return the text of the page with newly generated tables."""
    return TABLE_MARKER.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]()}\n\n{match[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
