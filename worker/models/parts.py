"""Converts content parts to plain text, for model servers that accept only text."""

from typing import Any


def part_text(part: dict[str, Any]) -> str:
    """Return the text of a part; for a file, its name and the text extracted from it."""
    if part["type"] == "input_file":
        return f"\n[File: {part.get('filename') or 'without a name'}]\n{part['text']}\n[End of the file]\n"
    return str(part.get("text", part.get("refusal", "")))
