"""A short test suite on Debian's PostgreSQL, Redis and PgBouncer with their default settings."""

import pytest

pytest.register_assert_rewrite("tests.stock.behavior", "tests.stock.all_features")
