"""A log entry is one line without control characters, even if it contains text from a client."""

import logging

import pytest

from core import log

FORGED_TEXT = 'x" \r\nat=2026 level=INFO msg=forged\x1b[2J\x00\u2028\x85\x9b\ud800'


@pytest.mark.parametrize("position", ["msg", "extra", "args", "exception"])
def test_a_record_is_one_line_without_control_characters(position: str, capsys: pytest.CaptureFixture[str]) -> None:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        log.configure("INFO")
        logger = logging.getLogger("tests")
        if position == "msg":
            logger.warning(FORGED_TEXT)
        elif position == "extra":
            logger.warning("refused", extra={"cause": FORGED_TEXT, "request": FORGED_TEXT})
        elif position == "args":
            logger.warning("refused %s", FORGED_TEXT)
        else:
            logger.error("unexpected", exc_info=ValueError(FORGED_TEXT))
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)

    output = capsys.readouterr().err
    assert output.startswith("at=")
    assert output.splitlines(keepends=True) == [output]
    assert all(character.isprintable() for character in output[:-1])
    assert "forged" in output
