"""A log entry is one line of printable text, even if it contains text from a client."""

import logging

import pytest

from core import log

FORGED = 'x" \r\nat=2026 level=INFO msg=forged\x1b[2J\x00\u2028\x85\x9b\ud800'


@pytest.mark.parametrize("where", ["msg", "extra", "args", "exception"])
def test_a_record_is_one_line_without_control_characters(where: str, capsys: pytest.CaptureFixture[str]) -> None:
    kept = logging.getLogger().handlers[:], logging.getLogger().level
    try:
        log.configure("INFO")
        logger = logging.getLogger("tests")
        if where == "msg":
            logger.warning(FORGED)
        elif where == "extra":
            logger.warning("refused", extra={"cause": FORGED, "request": FORGED})
        elif where == "args":
            logger.warning("refused %s", FORGED)
        else:
            logger.error("unexpected", exc_info=ValueError(FORGED))
    finally:
        logging.getLogger().handlers[:], level = kept
        logging.getLogger().setLevel(level)

    said = capsys.readouterr().err
    assert said.startswith("at=")
    assert said.splitlines(keepends=True) == [said]
    assert all(character.isprintable() for character in said[:-1])
    assert "forged" in said
