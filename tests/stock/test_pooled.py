"""A deployment on Debian's servers, through PgBouncer in transaction mode, which passes on no connection `options`."""

from tests.stock.behavior import Behavior

POOLED = True


class TestPooled(Behavior):
    pass
