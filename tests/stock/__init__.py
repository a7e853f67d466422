"""A short suite on Debian's PostgreSQL, Redis and PgBouncer with the settings that Debian ships."""

import pytest

pytest.register_assert_rewrite("tests.stock.behavior", "tests.stock.journey")
