"""Run migrations online, one runner at a time, giving up soon where a lock cannot be had."""

import sqlalchemy as sa
from alembic import context

from core.tables import metadata

# Any number no one else uses; two `backburner migrate` at once take turns.
MIGRATION_LOCK = 7_226_537


def run() -> None:
    """Migrate in one transaction under an advisory lock."""
    url: str = context.config.attributes["database_url"]
    engine = sa.create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        connect_args={"options": "-c lock_timeout=4s", "connect_timeout": 5},
        poolclass=sa.NullPool,
    )
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            connection.execute(sa.text("set local lock_timeout = 0"))
            connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.execute(sa.text("set local lock_timeout = '4s'"))
            context.run_migrations()


run()
