"""`backburner` rejects unusable files and arguments before it connects to a server."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main

PROMPT_START = b'name = "a"\n[template]\ninput = "hi"\n'
INVALID_FILES = {
    "not a number": (PROMPT_START + b"temperature = nan", "JSON has no number nan"),
    "an infinite number": (PROMPT_START + b"temperature = -inf", "JSON has no number -inf"),
    "a number over 64 bits": (
        PROMPT_START + b"max_output_tokens = 99999999999999999999",
        "Integer exceeds 64-bit range",
    ),
    "deep TOML": (b"a = " + b"[" * 3000 + b"]" * 3000, "recursion"),
    "TOML too deep for JSON": (PROMPT_START + b"a = " + b"[" * 300 + b"]" * 300, "Recursion limit"),
    "deep JSON": (b'{"a": ' + b"[" * 3000 + b"]" * 3000 + b"}", "depth limit"),
    "invalid UTF-8": (b'name = "\xff"', "can't decode byte"),
    "truncated JSON": (b'{"name":', "unexpected end"),
}


@pytest.mark.parametrize(("content", "message"), INVALID_FILES.values(), ids=INVALID_FILES)
def test_a_file_that_cannot_become_json_is_rejected_with_a_one_line_message(
    tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "prompt.toml"
    file.write_bytes(content)

    result = CliRunner().invoke(main, ["prompts", "create", str(file)])

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {file} is neither JSON nor TOML: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [["responses", "show", "\udcff"], ["keys", "create", "--project", "a\udcff"]])
def test_an_argument_that_is_not_utf_8_is_quoted_in_the_error(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code == 2
    assert result.stderr.endswith("Error: " + repr(arguments[-1]) + " is not valid UTF-8.\n")
