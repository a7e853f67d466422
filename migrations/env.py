"""Runs migrations online, in one process at a time; gives up after a short wait for a table lock."""

import sqlalchemy as sa
from alembic import context

from core.tables import metadata

# An arbitrary number that nothing else uses. Concurrent runs of `backburner migrate` wait for each other.
MIGRATION_LOCK = 7_226_537

# No session state, because a connection pooler may be in between. The timeouts detect a network that drops packets.
_CONNECT = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "prepare_threshold": None,
}


def run() -> None:
    """Migrate in one transaction under an advisory lock."""
    url: str = context.config.attributes["database_url"]
    engine = sa.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        connect_args=_CONNECT,
        poolclass=sa.NullPool,
    )
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            # A process that freezes must not keep tables locked. A statement of a migration may take any time.
            connection.execute(sa.text("set local idle_in_transaction_session_timeout = '60s'"))
            connection.execute(sa.text("set local statement_timeout = 0"))
            connection.execute(sa.text("set local lock_timeout = 0"))
            connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.execute(sa.text("set local lock_timeout = '4s'"))
            context.run_migrations()


run()
