"""Run migrations online, one runner at a time, giving up soon where a lock cannot be had."""

import sqlalchemy as sa
from alembic import context

from core.tables import metadata

# Any number no one else uses; two `backburner migrate` at once take turns.
MIGRATION_LOCK = 7_226_537

# Nothing that a session would keep: a pooler may stand between. A network that swallows packets is noticed.
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
            # Whoever is frozen in the middle must not keep tables locked; no statement is too long for a migration.
            connection.execute(sa.text("set local idle_in_transaction_session_timeout = '60s'"))
            connection.execute(sa.text("set local statement_timeout = 0"))
            connection.execute(sa.text("set local lock_timeout = 0"))
            connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.execute(sa.text("set local lock_timeout = '4s'"))
            context.run_migrations()


run()
