"""Generates the tables of docs/model-servers.md: `python -m tests.matrix.page`."""

import re
from pathlib import Path

from tests.matrix.features import FEATURES
from tests.model_server.misbehaving import FAILED, UNDERSTOOD

PAGE = Path(__file__).resolve().parents[2] / "docs/model-servers.md"
MARK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def features() -> str:
    lines = ["| feature | `chat_completions` | `responses` | packaged model |", "|---|---|---|---|"]
    for one in FEATURES:
        tried = f"`{one.packaged}`" if one.packaged else ""
        lines.append(f"| {one.name} | {one.chat} | {one.native} | {tried} |")
    return "\n".join(lines)


def corpus() -> str:
    taken = "; ".join(case.does for case in UNDERSTOOD)
    lines = ["| a server that | ends the response as |", "|---|---|", f"| {taken} | `completed` |"]
    codes = sorted({case.end.code or "" for case in FAILED})
    for code in codes:
        does = "; ".join(case.does for case in FAILED if case.end.code == code)
        lines.append(f"| {does} | `failed`, `{code}` |")
    return "\n".join(lines)


TABLES = {"features": features, "corpus": corpus}


def page(text: str) -> str:
    """The page with its tables generated from the tests."""
    return MARK.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[3]}", text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
