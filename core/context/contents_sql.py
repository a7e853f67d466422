"""Large parts of requests: each kept once a project, as long as a response refers to it."""

from collections.abc import Collection, Mapping

from core.database import Connection


def insert(connection: Connection, project_id: str, contents: Mapping[str, str]) -> None:
    """Write contents by their SHA-256 in hex; those that are there stay as they are.

    One of those may go before it is referred to: `refer` then says so.
    """
    for content_id in sorted(contents):
        connection.execute(
            "insert into contents (project_id, id, data) values (%s, %s, %s) on conflict do nothing",
            (project_id, content_id, contents[content_id]),
        )


def refer(connection: Connection, project_id: str, response_id: str, content_ids: Collection[str]) -> None:
    """Say that a response needs these contents.

    Raises:
        psycopg.errors.ForeignKeyViolation: one of them was deleted this moment; the whole is to be done again.
    """
    if content_ids:
        connection.execute(
            "insert into response_contents (response_id, project_id, content_id)"
            " select %s, %s, id from unnest(%s::text[]) as needed (id) order by id",
            (response_id, project_id, list(content_ids)),
        )


def read(connection: Connection, response_id: str, content_ids: Collection[str]) -> dict[str, str]:
    """Those of these contents that a response refers to."""
    rows = connection.execute(
        "select c.id, c.data from response_contents r join contents c on c.project_id = r.project_id"
        " and c.id = r.content_id where r.response_id = %s and r.content_id = any (%s)",
        (response_id, list(content_ids)),
    )
    return {str(row[0]): str(row[1]) for row in rows}


def sizes(connection: Connection, response_id: str) -> dict[str, int]:
    """The bytes of each content that a response refers to."""
    rows = connection.execute(
        "select c.id, octet_length(c.data) from response_contents r join contents c on c.project_id = r.project_id"
        " and c.id = r.content_id where r.response_id = %s",
        (response_id,),
    )
    return {str(row[0]): int(row[1]) for row in rows}


# What somebody is just making use of stays listed: should he change his mind, nobody else would list it again.
_DELETE_RELEASED = """
with listed as (
    select id, project_id, content_id from released_contents order by id limit %(limit)s for update skip locked
), unused as (
    select c.project_id, c.id from contents c
    where (c.project_id, c.id) in (select project_id, content_id from listed)
        and not exists (select from response_contents r where r.project_id = c.project_id and r.content_id = c.id)
    for update skip locked
), gone as (
    delete from contents c using unused u where c.project_id = u.project_id and c.id = u.id
    returning c.project_id, c.id
)
delete from released_contents l using listed
where l.id = listed.id and (
    exists (select from gone g where g.project_id = listed.project_id and g.id = listed.content_id)
    or exists (select from response_contents r
               where r.project_id = listed.project_id and r.content_id = listed.content_id)
    or not exists (select from contents c where c.project_id = listed.project_id and c.id = listed.content_id))
"""


def delete_released(connection: Connection, limit: int) -> int:
    """Delete some of the contents that no response refers to any more; how many that responses let go were looked at.

    Raises:
        psycopg.errors.ForeignKeyViolation: one of them was made use of this moment. Nothing is deleted.
    """
    return connection.execute(_DELETE_RELEASED, {"limit": limit}).rowcount
