"""Authenticated encryption of data that clients store for this server; each seal is bound to a project."""

import base64
import binascii
import os
import re

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core import errors

# Layout of a seal before base64 encoding: version, key ID, salt, AES-GCM ciphertext with tag. The AES key and the nonce
# are derived from a random salt for each seal, so no nonce is reused with a key, however many seals a secret creates.
_VERSION = b"\x01"
_ID_BYTES = 4
_SALT_BYTES = 16
_KEY_BYTES = 32
_NONCE_BYTES = 12
_HEAD_BYTES = len(_VERSION) + _ID_BYTES + _SALT_BYTES


class Seals:
    """Encrypts and decrypts data with a set of secret keys.

    Args:
        secret: the keys, separated by commas or whitespace. The first one encrypts; all of them decrypt. None disables
            encryption.
    """

    def __init__(self, secret: str | None) -> None:
        keys = [key.encode() for key in re.split(r"[\s,]+", secret or "") if key]
        self._keys = {_derive(key, b"", b"id", _ID_BYTES): key for key in reversed(keys)}
        self._first = keys[0] if keys else None

    @property
    def usable(self) -> bool:
        """Whether a key is configured."""
        return self._first is not None

    def seal(self, content: bytes, *, project_id: str) -> str:
        """Encrypt `content` for a project; return URL-safe base64 text.

        Raises:
            errors.BadSettings: no key is configured.
        """
        if self._first is None:
            raise errors.BadSettings("BACKBURNER_SECRET_KEY is not set.")
        head = _VERSION + _derive(self._first, b"", b"id", _ID_BYTES) + os.urandom(_SALT_BYTES)
        cipher, nonce = _cipher(self._first, head)
        return base64.urlsafe_b64encode(head + cipher.encrypt(nonce, content, _bound(head, project_id))).decode()

    def open(self, sealed: str, *, project_id: str) -> bytes:
        """Decrypt text that `seal` returned for the same project.

        Raises:
            errors.NotSealed: the text was not encrypted by this server, was encrypted with an unknown key or for
                another project, or was modified.
        """
        try:
            raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise errors.NotSealed("It was not encrypted by this server.") from error
        head, rest = raw[:_HEAD_BYTES], raw[_HEAD_BYTES:]
        if len(raw) < _HEAD_BYTES or not head.startswith(_VERSION):
            raise errors.NotSealed("It was not encrypted by this server.")
        key = self._keys.get(head[len(_VERSION) :][:_ID_BYTES])
        if key is None:
            raise errors.NotSealed("It was encrypted with a key that this server does not have.")
        cipher, nonce = _cipher(key, head)
        try:
            return cipher.decrypt(nonce, rest, _bound(head, project_id))
        except InvalidTag as error:
            raise errors.NotSealed("It was modified, or encrypted for another project.") from error


def _derive(key: bytes, salt: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, b"backburner seal " + purpose).derive(key)


def _cipher(key: bytes, head: bytes) -> tuple[AESGCM, bytes]:
    derived = _derive(key, head[-_SALT_BYTES:], b"key", _KEY_BYTES + _NONCE_BYTES)
    return AESGCM(derived[:_KEY_BYTES]), derived[_KEY_BYTES:]


def _bound(head: bytes, project_id: str) -> bytes:
    return head + project_id.encode()
