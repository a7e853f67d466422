"""SQLAlchemy Core expressions that run on connections of psycopg."""

from typing import Any, TypeVar

import sqlalchemy as sa
from psycopg.rows import TupleRow, class_row
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from core.database import Connection

Row = TypeVar("Row")

_DIALECT = PGDialect_psycopg()  # type: ignore[no-untyped-call]


class Statement:
    """An expression over the table definitions, compiled once, when its module is imported.

    A column that does not exist raises an error at import. The statement runs in the transaction of the caller's
    connection, as hand-written SQL does. Hot paths use hand-written SQL, because their plans depend on the exact text.
    """

    def __init__(self, expression: sa.sql.expression.UpdateBase | sa.Select[Any], *columns: str) -> None:
        """Compile an expression.

        Args:
            columns: for an INSERT or UPDATE, the columns whose values are parameters, named like the columns.
        """
        compiled = expression.compile(dialect=_DIALECT, column_keys=list(columns) or None)
        self._sql = str(compiled)
        self._constants = {name: bind.value for bind, name in compiled.bind_names.items() if not bind.required}

    def execute(self, connection: Connection, **values: object) -> int:
        """Execute the statement with a value for each parameter; return the number of rows returned or changed."""
        return connection.execute(self._sql, self._constants | values).rowcount

    def fetch_row(self, connection: Connection, **values: object) -> TupleRow | None:
        """Execute the statement and return its first row as a tuple; None if there is none."""
        return connection.execute(self._sql, self._constants | values).fetchone()

    def fetch_one(self, connection: Connection, row_type: type[Row], **values: object) -> Row | None:
        """Execute the statement and return its first row, or None.

        Args:
            row_type: a class whose fields are the columns of the result.
        """
        with connection.cursor(row_factory=class_row(row_type)) as cursor:
            return cursor.execute(self._sql, self._constants | values).fetchone()

    def fetch_all(self, connection: Connection, row_type: type[Row], **values: object) -> list[Row]:
        """Execute the statement and return all rows.

        Args:
            row_type: a class whose fields are the columns of the result.
        """
        with connection.cursor(row_factory=class_row(row_type)) as cursor:
            return cursor.execute(self._sql, self._constants | values).fetchall()
