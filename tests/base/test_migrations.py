"""Migrations: the schema equals the table definitions, can be upgraded and downgraded, and is checked at startup."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.conninfo import conninfo_to_dict

import migrations
from core import errors, schema_version
from core.database import Database
from core.tables import metadata
from local.processes import environment
from tests.conftest import new_database

PARTS = ("api", "worker", "sweeper")
ROOT = Path(__file__).resolve().parents[2]


def describe_schema(url: str) -> list[tuple]:
    """Return a row of texts for each column, constraint, index, function and trigger of a database."""
    with psycopg.connect(url) as connection:
        return connection.execute("""
            select 'column', table_name::text, column_name::text, data_type || is_nullable || coalesce(column_default, '')
                from information_schema.columns where table_schema = 'public'
            union all select 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid)
                from pg_constraint where connamespace = 'public'::regnamespace
            union all select 'index', tablename::text, indexname::text, indexdef
                from pg_indexes where schemaname = 'public'
            union all select 'function', '', proname::text, prosrc
                from pg_proc where pronamespace = 'public'::regnamespace
            union all select 'trigger', tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid)
                from pg_trigger where not tgisinternal
            order by 1, 2, 3""").fetchall()


def test_the_migrated_schema_equals_the_table_definitions(database_url: str) -> None:
    engine = sa.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        differences = compare_metadata(context, metadata)
    engine.dispose()

    assert differences == []


def test_a_downgrade_and_another_upgrade_restore_the_same_schema(postgres_url: str) -> None:
    url = new_database(postgres_url)
    migrations.upgrade(url)
    first_schema = describe_schema(url)
    migrations.downgrade(url, "base")
    remaining_rows = [row for row in describe_schema(url) if "alembic_version" not in row[1]]
    migrations.upgrade(url)

    assert len(first_schema) > 50
    assert remaining_rows == []
    assert describe_schema(url) == first_schema


def test_a_second_upgrade_changes_nothing(database_url: str) -> None:
    schema_before = describe_schema(database_url)

    migrations.upgrade(database_url)

    assert describe_schema(database_url) == schema_before


def test_the_program_lists_every_migration_and_requires_the_last_one(postgres_url: str) -> None:
    script = ScriptDirectory.from_config(migrations.config(postgres_url))

    assert tuple(revision.revision for revision in script.walk_revisions())[::-1] == schema_version.REVISIONS
    assert script.get_heads() == [schema_version.HEAD]


@pytest.mark.parametrize(
    ("revision", "message"),
    [(None, "has no schema"), ("9999", "is newer")],
)
def test_an_incompatible_schema_is_rejected_with_a_one_line_message(
    postgres_url: str, template: str, revision: str | None, message: str
) -> None:
    url = new_database(postgres_url, template if revision else "template0")
    if revision:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("update alembic_version set version_num = %s", (revision,))
    database = Database(url, connections=1)
    database.open()
    try:
        with pytest.raises(errors.SchemaMismatch, match=message) as error_info:
            schema_version.check(database)
    finally:
        database.close()

    assert "\n" not in str(error_info.value)


def run_migrate(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "migrate"],
        cwd=ROOT,
        env=environment.process_variables() | {"BACKBURNER_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_program_does_not_migrate_a_newer_schema_and_says_so_in_one_line(postgres_url: str, template: str) -> None:
    url = new_database(postgres_url, template)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = '9999'")

    process = run_migrate(url)

    assert process.returncode == 1
    assert process.stderr.startswith("Error: The database schema is newer than this program supports")
    assert process.stderr.count("\n") == 1


def test_a_url_with_several_hosts_can_be_migrated(postgres_url: str) -> None:
    url = new_database(postgres_url, "template0")
    parameters = conninfo_to_dict(url)
    host, port = parameters["host"], parameters.get("port") or "5432"
    several_hosts = f"postgresql://{parameters['user']}@/{parameters['dbname']}?host={host},{host}&port={port},{port}"

    process = run_migrate(several_hosts)

    assert process.returncode == 0, process.stderr
    assert describe_schema(url)


@pytest.mark.parametrize("part", PARTS)
def test_no_part_starts_on_a_database_without_a_schema(
    postgres_url: str, valkey_url: str, config: Path, tmp_path: Path, part: str
) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "cli.main", part],
        env={
            "BACKBURNER_HOME": str(tmp_path),
            "BACKBURNER_DATABASE_URL": new_database(postgres_url),
            "BACKBURNER_REDIS_URL": valkey_url,
            "BACKBURNER_CONFIG": str(config),
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert process.returncode == 1
    assert process.stderr.strip().splitlines()[-1].startswith("Error: The database has no schema")
    assert "Traceback" not in process.stderr
