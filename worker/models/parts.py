"""Parts of content in words, for model servers that take no more than text."""

from typing import Any


def words(part: dict[str, Any]) -> str:
    """The text of a part; of a file, under its name, the text that was read in it."""
    if part["type"] == "input_file":
        return f"\n[File: {part.get('filename') or 'without a name'}]\n{part['text']}\n[End of the file]\n"
    return str(part.get("text", part.get("refusal", "")))
