"""A deployment on Debian's servers, through PgBouncer in transaction mode, which ignores connection `options`."""

from tests.stock.behavior import Behavior

POOLED = True


class TestPooled(Behavior):
    pass
