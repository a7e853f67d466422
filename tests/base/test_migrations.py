"""Migrations: the schema equals the table definitions, can be upgraded and downgraded, and is checked at startup."""

import subprocess
import sys
from contextlib import closing
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
    """Return a row for each column, constraint, index, function and trigger: kind, table, name and definition."""
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
    remaining_rows = [
        (kind, table, name) for kind, table, name, _ in describe_schema(url) if "alembic_version" not in table
    ]
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


def set_schema_version(url: str, revision: str, oldest_program: str) -> None:
    """Change the revision, and the oldest program that may run on the schema, as a migrated schema records them."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = %s", (revision,))
        connection.execute("update schema_range set oldest_program = %s", (oldest_program,))


def check_schema(url: str) -> str:
    """Check the schema as every part does when it starts."""
    with closing(Database(url, connections=1)) as database:
        database.open()
        return schema_version.check(database)


@pytest.mark.parametrize("oldest_program", ["0002", schema_version.HEAD])
def test_a_program_runs_on_a_later_schema_that_admits_it(postgres_url: str, template: str, oldest_program: str) -> None:
    url = new_database(postgres_url, template)
    set_schema_version(url, "9999", oldest_program)

    assert check_schema(url) == "9999"
    assert "Nothing to do" in run_migrate(url).stdout


def test_a_program_rejects_an_older_schema_and_a_later_schema_that_does_not_admit_it(
    postgres_url: str, template: str
) -> None:
    url = new_database(postgres_url, template)

    set_schema_version(url, "9999", "9999")
    with pytest.raises(errors.SchemaMismatch, match=r"9999\) is newer") as newer_error:
        check_schema(url)
    set_schema_version(url, schema_version.REVISIONS[-2], "0002")
    with pytest.raises(errors.SchemaMismatch, match="is older") as older_error:
        check_schema(url)

    assert "\n" not in str(newer_error.value) + str(older_error.value)


@pytest.mark.parametrize(("revision", "message"), [("0001", "is older"), ("9999", "is newer")])
def test_a_schema_from_before_schema_ranges_is_rejected(postgres_url: str, revision: str, message: str) -> None:
    url = new_database(postgres_url)
    migrations.upgrade(url, "0001")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("update alembic_version set version_num = %s", (revision,))

    with pytest.raises(errors.SchemaMismatch, match=message):
        check_schema(url)


def test_every_migration_from_the_second_on_records_the_oldest_program_that_runs_on_its_schema(
    postgres_url: str,
) -> None:
    url = new_database(postgres_url)
    ranges = {}
    for revision in schema_version.REVISIONS[1:]:
        migrations.upgrade(url, revision)
        with psycopg.connect(url) as connection:
            ((ranges[revision],),) = connection.execute("select oldest_program from schema_range").fetchall()

    assert ranges["0002"] == "0002"
    assert all(oldest_program <= revision for revision, oldest_program in ranges.items())
    assert list(ranges.values()) == sorted(ranges.values())


def test_a_database_without_a_schema_is_rejected(postgres_url: str) -> None:
    with pytest.raises(errors.SchemaMismatch, match="has no schema"):
        check_schema(new_database(postgres_url, "template0"))


def run_migrate(url: str) -> subprocess.CompletedProcess[str]:
    """Run `backburner migrate` on a database."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", "migrate"],
        cwd=ROOT,
        env=environment.process_variables() | {"BACKBURNER_DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_program_does_not_migrate_a_newer_schema_and_reports_one_line(postgres_url: str, template: str) -> None:
    url = new_database(postgres_url, template)
    set_schema_version(url, "9999", "9999")

    process = run_migrate(url)

    assert process.returncode == 1
    assert process.stderr.startswith("Error: The database schema (9999) is newer than this program supports")
    assert process.stderr.count("\n") == 1


def test_a_url_with_several_hosts_can_be_migrated(postgres_url: str) -> None:
    url = new_database(postgres_url, "template0")
    parameters = conninfo_to_dict(url)
    host, port = parameters["host"], parameters.get("port") or "5432"
    url_with_two_hosts = (
        f"postgresql://{parameters['user']}@/{parameters['dbname']}?host={host},{host}&port={port},{port}"
    )

    process = run_migrate(url_with_two_hosts)

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
