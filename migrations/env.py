"""Runs migrations in one process at a time. A migration fails if it waits longer than 4 s for a table lock."""

from typing import Any

import psycopg
import sqlalchemy as sa
from alembic import context

from core.tables import metadata

# Key of the advisory lock that lets only one `backburner migrate` run at a time; an arbitrary number.
MIGRATION_LOCK_KEY = 7_226_537

# Prepared statements are off, because a connection pooler may be in use. The timeouts detect a broken connection.
_CONNECTION_OPTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
    "prepare_threshold": None,
}


def migrate() -> None:
    """Migrate in one transaction under an advisory lock."""
    url: str = context.config.attributes["database_url"]
    # libpq parses the URL, because SQLAlchemy rejects some URLs that libpq supports, such as URLs with several hosts.
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url, **_CONNECTION_OPTIONS), poolclass=sa.NullPool
    )
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            # If this process is suspended, let Postgres end its transaction, which holds table locks. Statements may
            # take any amount of time.
            connection.execute(sa.text("set local idle_in_transaction_session_timeout = '60s'"))
            connection.execute(sa.text("set local statement_timeout = 0"))
            connection.execute(sa.text("set local lock_timeout = 0"))
            connection.execute(sa.text("select pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK_KEY})
            connection.execute(sa.text("set local lock_timeout = '4s'"))
            context.run_migrations()


migrate()
