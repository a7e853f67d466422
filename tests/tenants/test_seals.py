"""Only this server can open a seal, and only for the project it was made for."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import errors
from core.tenants.seals import Seals

OLD, NEW = "old-" + "k" * 40, "new-" + "k" * 40
SEALS = Seals(NEW)


@given(st.binary(max_size=500), st.text(max_size=20))
def test_what_is_sealed_is_opened_again_for_its_project_and_no_other(content: bytes, project_id: str) -> None:
    sealed = SEALS.seal(content, project_id=project_id)

    assert SEALS.open(sealed, project_id=project_id) == content
    with pytest.raises(errors.NotSealed, match="another project"):
        SEALS.open(sealed, project_id=project_id + "x")


def test_nothing_of_the_content_shows_and_no_two_seals_are_the_same() -> None:
    first, second = (SEALS.seal(b"a secret thought", project_id="p") for _ in range(2))

    assert first != second
    assert b"secret" not in base64.urlsafe_b64decode(first)


def test_a_new_key_opens_what_the_old_one_sealed_as_long_as_the_old_one_is_kept() -> None:
    sealed = Seals(OLD).seal(b"a", project_id="p")

    for both in (f"{NEW},{OLD}", f" {NEW} {OLD} ", f"{NEW},\n{OLD},"):
        assert Seals(both).open(sealed, project_id="p") == b"a"
        SEALS.open(Seals(both).seal(b"b", project_id="p"), project_id="p")  # the first key seals
    with pytest.raises(errors.NotSealed, match="key that this server does not have"):
        SEALS.open(sealed, project_id="p")


@given(st.integers(0), st.integers(1, 255))
def test_a_seal_that_was_changed_anywhere_is_not_opened(place: int, change: int) -> None:
    raw = bytearray(base64.urlsafe_b64decode(SEALS.seal(b"a thought", project_id="p")))
    raw[place % len(raw)] ^= change

    with pytest.raises(errors.NotSealed):
        SEALS.open(base64.urlsafe_b64encode(raw).decode(), project_id="p")


@pytest.mark.parametrize("cut", [1, 4, 20, 40])
def test_a_seal_that_was_cut_is_not_opened(cut: int) -> None:
    with pytest.raises(errors.NotSealed):
        SEALS.open(SEALS.seal(b"a thought", project_id="p")[:-cut], project_id="p")


@given(st.text())
def test_what_is_no_seal_is_not_opened(text: str) -> None:
    with pytest.raises(errors.NotSealed):
        SEALS.open(text, project_id="p")


@pytest.mark.parametrize("secret", [None, "", " , "])
def test_without_a_key_nothing_is_sealed(secret: str | None) -> None:
    seals = Seals(secret)

    assert not seals.usable
    with pytest.raises(errors.BadSettings):
        seals.seal(b"a", project_id="p")
    with pytest.raises(errors.NotSealed):
        seals.open(SEALS.seal(b"a", project_id="p"), project_id="p")
