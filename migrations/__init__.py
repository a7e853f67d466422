"""Schema migrations. Alembic is called from Python, so it needs no configuration file."""

from pathlib import Path

from alembic import command
from alembic.config import Config


def config(database_url: str) -> Config:
    """Alembic's configuration for the database at a libpq URL (`postgresql://…`)."""
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent))
    configuration.attributes["database_url"] = database_url
    return configuration


def upgrade(database_url: str, revision: str = "head") -> None:
    """Upgrade the schema to `revision`; does nothing if the schema is already at that revision."""
    command.upgrade(config(database_url), revision)


def downgrade(database_url: str, revision: str) -> None:
    """Downgrade the schema to `revision`; data in dropped tables and columns is lost."""
    command.downgrade(config(database_url), revision)
