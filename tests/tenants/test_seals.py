"""A seal can be opened only with a configured key, and only for the project of the seal."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.tenants.seals import Seals

OLD_KEY, NEW_KEY = "old-" + "k" * 40, "new-" + "k" * 40
SEALS = Seals(NEW_KEY)


@given(st.binary(max_size=500), st.text(max_size=20))
def test_a_seal_can_be_opened_only_for_its_own_project(content: bytes, project_id: str) -> None:
    seal = SEALS.seal(content, project_id=project_id)

    assert SEALS.open(seal, project_id=project_id) == content
    with pytest.raises(errors.SealError, match="another project"):
        SEALS.open(seal, project_id=project_id + "x")


def test_seals_of_the_same_content_differ_and_do_not_reveal_it() -> None:
    first_seal, second_seal = (SEALS.seal(b"a secret thought", project_id="p") for _ in range(2))

    assert first_seal != second_seal
    assert b"secret" not in base64.urlsafe_b64decode(first_seal)


def test_a_seal_of_an_old_key_can_be_opened_while_that_key_is_configured() -> None:
    seal = Seals(OLD_KEY).seal(b"a", project_id="p")

    for keys in (f"{NEW_KEY},{OLD_KEY}", f" {NEW_KEY} {OLD_KEY} ", f"{NEW_KEY},\n{OLD_KEY},"):
        assert Seals(keys).open(seal, project_id="p") == b"a"
        SEALS.open(Seals(keys).seal(b"b", project_id="p"), project_id="p")  # the first key encrypts
    with pytest.raises(errors.SealError, match="key that this server does not have"):
        SEALS.open(seal, project_id="p")


@given(st.integers(0), st.integers(1, 255))
def test_a_modified_seal_cannot_be_opened(position: int, change: int) -> None:
    seal = bytearray(base64.urlsafe_b64decode(SEALS.seal(b"a thought", project_id="p")))
    seal[position % len(seal)] ^= change

    with pytest.raises(errors.SealError):
        SEALS.open(base64.urlsafe_b64encode(seal).decode(), project_id="p")


@pytest.mark.parametrize("cut_length", [1, 4, 20, 40])
def test_a_truncated_seal_cannot_be_opened(cut_length: int) -> None:
    with pytest.raises(errors.SealError):
        SEALS.open(SEALS.seal(b"a thought", project_id="p")[:-cut_length], project_id="p")


@given(st.text())
def test_arbitrary_text_cannot_be_opened_as_a_seal(text: str) -> None:
    with pytest.raises(errors.SealError):
        SEALS.open(text, project_id="p")


@pytest.mark.parametrize("secret", [None, "", " , "])
def test_without_a_key_no_seal_can_be_created_or_opened(secret: str | None) -> None:
    seals = Seals(secret)

    assert not seals.has_key
    with pytest.raises(errors.BadSettings):
        seals.seal(b"a", project_id="p")
    with pytest.raises(errors.SealError):
        seals.open(SEALS.seal(b"a", project_id="p"), project_id="p")
