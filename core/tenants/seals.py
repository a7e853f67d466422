"""What only this server may read of what it gives away: sealed with its keys, bound to a project."""

import base64
import binascii
import os
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core import errors

# Layout of a seal, before it is written in base64: version, key's ID, salt, and AES-GCM's ciphertext with its tag.
# Key and nonce are derived for each seal anew, so no nonce is ever used twice, however many seals a key makes.
_VERSION = b"\x01"
_ID_BYTES = 4
_SALT_BYTES = 16
_KEY_BYTES = 32
_NONCE_BYTES = 12
_HEAD_BYTES = len(_VERSION) + _ID_BYTES + _SALT_BYTES


class Seals:
    """Seals and opens with a ring of keys.

    Args:
        secret: the keys, separated by commas or blanks: the first seals, all of them open. None: there is no key.
    """

    def __init__(self, secret: str | None) -> None:
        keys = [key.encode() for key in re.split(r"[\s,]+", secret or "") if key]
        self._keys = {_derive(key, b"", b"id", _ID_BYTES): key for key in reversed(keys)}
        self._first = keys[0] if keys else None

    @property
    def usable(self) -> bool:
        """Whether there is a key."""
        return self._first is not None

    def seal(self, content: bytes, *, project_id: str) -> str:
        """`content` in letters, digits, `-` and `_`, which only the project can have opened again.

        Raises:
            errors.BadSettings: there is no key.
        """
        if self._first is None:
            raise errors.BadSettings("BACKBURNER_SECRET_KEY is not set.")
        head = _VERSION + _derive(self._first, b"", b"id", _ID_BYTES) + os.urandom(_SALT_BYTES)
        cipher, nonce = _cipher(self._first, head)
        return base64.urlsafe_b64encode(head + cipher.encrypt(nonce, content, _bound(head, project_id))).decode()

    def open(self, sealed: str, *, project_id: str) -> bytes:
        """What was sealed for the project.

        Raises:
            errors.NotSealed: it was sealed with a key that is not here, or for another project, or not by us, or it
                was changed since.
        """
        try:
            raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise errors.NotSealed("It is not a content that this server has encrypted.") from error
        head, rest = raw[:_HEAD_BYTES], raw[_HEAD_BYTES:]
        if len(raw) < _HEAD_BYTES or not head.startswith(_VERSION):
            raise errors.NotSealed("It is not a content that this server has encrypted.")
        key = self._keys.get(head[len(_VERSION) :][:_ID_BYTES])
        if key is None:
            raise errors.NotSealed("It was encrypted with a key that this server does not have.")
        cipher, nonce = _cipher(key, head)
        try:
            return cipher.decrypt(nonce, rest, _bound(head, project_id))
        except InvalidTag as error:
            raise errors.NotSealed("It was changed, or encrypted for another project.") from error


def _derive(key: bytes, salt: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, b"backburner seal " + purpose).derive(key)


def _cipher(key: bytes, head: bytes) -> tuple[AESGCM, bytes]:
    derived = _derive(key, head[-_SALT_BYTES:], b"key", _KEY_BYTES + _NONCE_BYTES)
    return AESGCM(derived[:_KEY_BYTES]), derived[_KEY_BYTES:]


def _bound(head: bytes, project_id: str) -> bytes:
    return head + project_id.encode()
