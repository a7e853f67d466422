"""The rights that an API key can have."""

from collections.abc import Collection
from enum import StrEnum


class Right(StrEnum):
    """A right of an API key in the projects to which it has access."""

    READ = "read"
    WRITE = "write"
    CANCEL = "cancel"
    NO_LIMIT = "no-limit"
    ADMIN = "admin"


DEFAULT_RIGHTS = frozenset({Right.READ, Right.WRITE, Right.CANCEL})
ALL_RIGHTS = frozenset(Right)


def complete_rights(rights: Collection[str]) -> frozenset[str]:
    """Return the complete rights of a new key.

    The default rights are added if `rights` is empty or contains only `no-limit`, which is useless without them.
    """
    requested_rights = frozenset(str(right) for right in rights)
    return requested_rights | DEFAULT_RIGHTS if requested_rights <= {Right.NO_LIMIT} else requested_rights
