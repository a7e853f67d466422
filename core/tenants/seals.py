"""Authenticated encryption of data that clients store for this server. Each seal is valid only for one project."""

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
# of each seal are derived from a random salt, so a nonce is never used twice with the same key.
_VERSION = b"\x01"
_KEY_ID_BYTES = 4
_SALT_BYTES = 16
_KEY_BYTES = 32
_NONCE_BYTES = 12
_HEADER_BYTES = len(_VERSION) + _KEY_ID_BYTES + _SALT_BYTES


class Seals:
    """Encrypts and decrypts data with a list of secret keys.

    Args:
        secret: the keys, separated by commas or whitespace. The first one encrypts; all of them decrypt. None disables
            encryption.
    """

    def __init__(self, secret: str | None) -> None:
        keys = [key.encode() for key in re.split(r"[\s,]+", secret or "") if key]
        # In reverse order, so that the first of several keys with the same ID is used.
        self._keys = {_key_id(key): key for key in reversed(keys)}
        self._encryption_key = keys[0] if keys else None

    @property
    def has_key(self) -> bool:
        """Whether a key is configured."""
        return self._encryption_key is not None

    def seal(self, content: bytes, *, project_id: str) -> str:
        """Encrypt `content` for a project; return URL-safe base64 text.

        Raises:
            errors.BadSettings: no key is configured.
        """
        if self._encryption_key is None:
            raise errors.BadSettings("BACKBURNER_SECRET_KEY is not set.")
        header = _VERSION + _key_id(self._encryption_key) + os.urandom(_SALT_BYTES)
        cipher, nonce = _derive_cipher(self._encryption_key, header)
        return base64.urlsafe_b64encode(
            header + cipher.encrypt(nonce, content, _associated_data(header, project_id))
        ).decode()

    def open(self, seal: str, *, project_id: str) -> bytes:
        """Decrypt text that `seal` returned for the same project.

        Raises:
            errors.SealError: the text was not encrypted by this server, was encrypted with an unknown key or for
                another project, or was modified.
        """
        try:
            seal_bytes = base64.b64decode(seal, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise errors.SealError("It was not encrypted by this server.") from error
        header, ciphertext = seal_bytes[:_HEADER_BYTES], seal_bytes[_HEADER_BYTES:]
        if len(seal_bytes) < _HEADER_BYTES or not header.startswith(_VERSION):
            raise errors.SealError("It was not encrypted by this server.")
        key_id = header[len(_VERSION) : len(_VERSION) + _KEY_ID_BYTES]
        key = self._keys.get(key_id)
        if key is None:
            raise errors.SealError("It was encrypted with a key that this server does not have.")
        cipher, nonce = _derive_cipher(key, header)
        try:
            return cipher.decrypt(nonce, ciphertext, _associated_data(header, project_id))
        except InvalidTag as error:
            raise errors.SealError("It was modified, or encrypted for another project.") from error


def _derive_bytes(key: bytes, salt: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, b"backburner seal " + purpose).derive(key)


def _key_id(key: bytes) -> bytes:
    """Return the ID that identifies a secret key in the headers of its seals."""
    return _derive_bytes(key, b"", b"id", _KEY_ID_BYTES)


def _derive_cipher(key: bytes, header: bytes) -> tuple[AESGCM, bytes]:
    key_and_nonce = _derive_bytes(key, header[-_SALT_BYTES:], b"key", _KEY_BYTES + _NONCE_BYTES)
    return AESGCM(key_and_nonce[:_KEY_BYTES]), key_and_nonce[_KEY_BYTES:]


def _associated_data(header: bytes, project_id: str) -> bytes:
    return header + project_id.encode()
