"""`backburner` reports unusable input in one line, before it connects to any server."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main

HEAD = b'name = "a"\n[template]\ninput = "hi"\n'
FILES = {
    "a number that is none": (HEAD + b"temperature = nan", "JSON has no number nan"),
    "a number without end": (HEAD + b"temperature = -inf", "JSON has no number -inf"),
    "a number over 64 bits": (HEAD + b"max_output_tokens = 99999999999999999999", "Integer exceeds 64-bit range"),
    "deep TOML": (b"a = " + b"[" * 3000 + b"]" * 3000, "recursion"),
    "TOML too deep for JSON": (HEAD + b"a = " + b"[" * 300 + b"]" * 300, "Recursion limit"),
    "deep JSON": (b'{"a": ' + b"[" * 3000 + b"]" * 3000 + b"}", "depth limit"),
    "bytes": (b'name = "\xff"', "can't decode byte"),
    "JSON cut short": (b'{"name":', "unexpected end"),
}


@pytest.mark.parametrize(("content", "says"), FILES.values(), ids=FILES)
def test_a_prompt_that_json_cannot_say_is_refused_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "prompt.toml"
    file.write_bytes(content)

    result = CliRunner().invoke(main, ["prompts", "create", str(file)])

    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {file} is neither JSON nor TOML: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [["responses", "show", "\udcff"], ["keys", "create", "--project", "a\udcff"]])
def test_words_that_are_no_text_are_refused_by_name(words: list[str]) -> None:
    result = CliRunner().invoke(main, words)

    assert result.exit_code == 2
    assert result.stderr.endswith("Error: " + repr(words[-1]) + " is not valid UTF-8.\n")
