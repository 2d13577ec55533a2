"""What PostgreSQL's catalogue says of what is captured: the publication, its tables, their columns and keys.

The publication is made when there is none, with the declared tables that have a replica identity. One that exists is used as it is, and
declared tables that it lacks are added to it where that is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from rainbow.errors import DataError, ServiceError
from rainbow.source.tables import BY_NAME
from streaming.events import Field, Shape
from streaming.topics import SCHEMA

PUBLICATION = "rainbow"

# the first that tells a publication's column lists and row filters
OLDEST = 15


class NoTablesError(DataError):
    """The source has none of the tables yet, or none that may be published."""


Say = Callable[[str], None]
Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Standing:
    """What is published: the publication's id (0: there is none), the id and the membership's of each of its tables, and the declared
    tables that could be published.

    A membership has an id of its own, so one that ended and began again is another; 0 where the publication is of all tables.
    """

    publication: int
    members: tuple[tuple[str, int, int], ...]
    declared: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """A table of the publication: its id and its membership's, its shape, the condition that its rows have to meet (SQL, or None), whether it
    has partitions."""

    id: int
    member: int
    shape: Shape
    condition: str | None
    partitioned: bool

    @property
    def name(self) -> str:
        """Schema and table."""
        return f"{self.shape.schema}.{self.shape.table}"

    @property
    def copy(self) -> sql.Composed:
        """The statement that streams its rows as text."""
        return sql.SQL("copy (select {} from {}{}{}) to stdout").format(
            sql.SQL(", ").join(sql.Identifier(field.name) for field in self.shape.fields),
            # rows of tables that inherit from it are published as those tables' own
            sql.SQL("" if self.partitioned else "only "),
            sql.Identifier(self.shape.schema, self.shape.table),
            sql.SQL(f" where {self.condition}" if self.condition else ""),
        )


def check_server(connection: Connection) -> None:
    """Raise ServiceError when the server is too old, or does not write what logical replication needs."""
    if connection.info.server_version < OLDEST * 10_000:
        raise ServiceError(f"capture needs PostgreSQL {OLDEST} or later, this is {connection.info.server_version // 10_000}: upgrade it")
    (level,) = _row(connection, "show wal_level")
    if level != "logical":
        raise ServiceError(
            f"capture needs wal_level = logical, PostgreSQL has {level}: `alter system set wal_level = logical`, then restart it"
        )


def publish(connection: Connection, say: Say, warn: Say) -> None:
    """Make the publication, or add the declared tables that it lacks.

    Raises NoTablesError when no table could be captured, ServiceError when the role may not make it.
    """
    found = connection.execute("select oid, puballtables from pg_publication where pubname = %s", [PUBLICATION]).fetchone()
    there = dict(connection.execute(_DECLARED, [list(BY_NAME)]).fetchall())
    publishable = [name for name in BY_NAME if there.get(name)]
    for name in sorted(name for name, identified in there.items() if not identified):
        warn(_no_identity(f"{SCHEMA}.{name}"))
    if found is None:
        if not publishable:
            if there:
                raise NoTablesError("none of the shop's tables can be captured, as none has a replica identity")
            raise NoTablesError("the source has none of the shop's tables, and views cannot be captured: see `rainbow seed --schema-only`")
        _change(connection, f"create publication {PUBLICATION} for table {_list(publishable)} with (publish_via_partition_root = true)")
        say(f"publication {PUBLICATION} made, of {len(publishable)} tables")
    elif not found[1]:
        (present,) = _row(
            connection,
            "select array(select tablename::text from pg_publication_tables where pubname = %s and schemaname = %s)",
            [PUBLICATION, SCHEMA],
        )
        missing = [name for name in publishable if name not in present]
        if missing:
            _add(connection, missing, say, warn)


def publication(connection: Connection) -> int:
    """The publication's id; 0 when there is none."""
    (oid,) = _row(connection, "select coalesce(max(oid::bigint), 0) from pg_publication where pubname = %s", [PUBLICATION])
    return int(oid)


def standing(connection: Connection) -> Standing:
    """What is published now."""
    declared = connection.execute(_DECLARED, [list(BY_NAME)]).fetchall()
    members = connection.execute(_MEMBERS, [PUBLICATION]).fetchall()
    return Standing(publication(connection), tuple(sorted(members)), tuple(sorted(name for name, identified in declared if identified)))


def published(connection: Connection, warn: Say) -> tuple[Published, ...]:
    """The tables of the publication, in order of dependence as far as they are declared."""
    bases = domains(connection)
    tables = []
    for oid, member, schema, table, identity, kind, names, types, condition, primary, index in connection.execute(
        _PUBLISHED, [PUBLICATION]
    ):
        if identity == "n" or (identity == "d" and not primary):
            warn(_no_identity(f"{schema}.{table}"))
        flagged = {"f": names, "i": index, "d": primary}.get(identity, ())
        key = key_of(schema, table, identity, names, primary, flagged)
        fields = tuple(Field(name, base_of(bases, type_)) for name, type_ in zip(names, types, strict=True))
        tables.append(Published(oid, member, Shape(schema, table, fields, key), condition, kind == "p"))
    places = {f"{SCHEMA}.{name}": place for place, name in enumerate(BY_NAME)}
    return tuple(sorted(tables, key=lambda one: (places.get(one.name, len(places)), one.name)))


def key_of(schema: str, table: str, identity: str, names: Sequence[str], primary: Sequence[str], flagged: Sequence[str]) -> tuple[int, ...]:
    """The places of the columns that are a table's key: the declared key, else the primary key, else the replica identity, else all columns.

    Of a replica identity by an index, a deleted row shows no other columns than the index's, so another key cannot be used.
    """
    candidates: list[Sequence[str]] = [primary, flagged]
    if schema == SCHEMA and table in BY_NAME:
        candidates.insert(0, (BY_NAME[table].key,))
    shown = set(flagged) if identity == "i" else set(names)
    for candidate in candidates:
        if candidate and shown.issuperset(candidate):
            return tuple(names.index(name) for name in candidate)
    return tuple(range(len(names)))


def primary_key(connection: Connection, relation: int) -> tuple[str, ...]:
    """The columns of a table's primary key as it is now; none when there is no key, or no table any more."""
    (names,) = _row(connection, f"select {_KEY_COLUMNS.format('indisprimary', '%s')}", [relation])
    return tuple(names)


def domains(connection: Connection) -> dict[int, int]:
    """The type below each domain."""
    return dict(connection.execute("select oid::bigint, typbasetype::bigint from pg_type where typtype = 'd'").fetchall())


def base_of(bases: dict[int, int], type_: int) -> int:
    """The type that a domain, or a domain of a domain, is made from."""
    while type_ in bases:
        type_ = bases[type_]
    return type_


def _add(connection: Connection, names: Sequence[str], say: Say, warn: Say) -> None:
    """Add declared tables to the publication, if that is allowed."""
    statement = f"alter publication {PUBLICATION} add table {_list(names)}"
    try:
        _change(connection, statement)
    except ServiceError as error:
        warn(f"{', '.join(names)} not captured: {error}")
        return
    say(f"publication {PUBLICATION} now has {', '.join(names)} too")


def _change(connection: Connection, statement: str) -> None:
    try:
        connection.execute(statement.encode())
    except psycopg.errors.DuplicateObject:
        # another capture was quicker
        return
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction) as error:
        raise ServiceError(
            f"the publication cannot be changed by {connection.info.user} ({error.diag.message_primary}): let its owner run `{statement}`"
        ) from error


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"{SCHEMA}.{name}" for name in names)


def _no_identity(table: str) -> str:
    return (
        f"{table} has no replica identity, so PostgreSQL refuses its updates and deletes while it is published:"
        f" `alter table {table} replica identity full`"
    )


def _row(connection: Connection, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
    row = connection.execute(query.encode(), values or None).fetchone()
    assert row is not None
    return tuple(row)


_KEY_COLUMNS = """array(select a.attname::text from pg_index i cross join unnest(i.indkey::int2[]) with ordinality k(attnum, place)
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
      where i.{} and i.indrelid = {} and k.place <= i.indnkeyatts order by k.place)"""

# a published table whose rows cannot be told apart lets nobody update or delete
_DECLARED = """
select relname::text, relreplident in ('f', 'i')
       or relreplident = 'd' and exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
from pg_class c where relnamespace = to_regnamespace('public') and relkind in ('r', 'p') and relname = any(%s)
"""

_OF_PUBLICATION = """
from pg_publication_tables p
join pg_namespace n on n.nspname = p.schemaname
join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
left join pg_publication_rel r on r.prrelid = c.oid and r.prpubid = (select oid from pg_publication where pubname = p.pubname)
"""

_MEMBERS = f"""
select n.nspname::text || '.' || c.relname::text, c.oid::bigint, coalesce(r.oid::bigint, 0)
{_OF_PUBLICATION}
where p.pubname = %s
"""

_PUBLISHED = f"""
select c.oid::bigint, coalesce(r.oid::bigint, 0), n.nspname::text, c.relname::text, c.relreplident::text, c.relkind::text, t.names, t.types, p.rowfilter,
       {_KEY_COLUMNS.format("indisprimary", "c.oid")}, {_KEY_COLUMNS.format("indisreplident", "c.oid")}
{_OF_PUBLICATION}
cross join lateral (
    select array_agg(a.attname::text order by a.attnum) as names, array_agg(a.atttypid::bigint order by a.attnum) as types
    from pg_attribute a where a.attrelid = c.oid and a.attname = any(p.attnames) and not a.attisdropped
) t
where p.pubname = %s and t.names is not null
"""
