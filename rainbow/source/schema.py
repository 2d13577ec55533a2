"""The schema of the shop's database, derived from ``tables.TABLES``: tables, keys, checks, indexes, and the record of deletes.

A row's ``updated_at`` is the writer's business, so no trigger touches it. A delete leaves no row to read, and neither does a TRUNCATE or
a row's change to another id; so triggers note the ids that are gone in ``deletions``, at the transaction's time or at the clock that the
session has set (``set_clock``), which is how a replay deletes in the past. Nothing here writes rows; see ``rainbow.datasets``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg

from rainbow.errors import DataError
from rainbow.source.tables import BY_NAME, TABLES, Column, Table

Connection = psycopg.Connection[Any]

CLOCK = "rainbow.clock"

# a setting under which a TRUNCATE notes nothing
_UNRECORDED = "rainbow.unrecorded"

# Foreign keys that are looked up from their parent's side: an order's lines, a customer's orders, a product's stock, and the lines
# that keep a product from being deleted. The other parents are few, and an index would cost each write and save nothing. Orders are
# listed newest first, all or a customer's, and a page is found by where the one before it ended.
INDEXED: tuple[tuple[str, str], ...] = (
    ("inventories", "product_id"),
    ("orders", "created_at, id"),
    ("orders", "customer_id, created_at, id"),
    ("orderdetails", "order_id"),
    ("orderdetails", "product_id"),
)

IDEMPOTENCY_KEYS: dict[str, str] = {"key": "text", "fingerprint": "text", "answer": "text", "created_at": "timestamptz"}

DELETIONS: dict[str, str] = {"table_name": "text", "row_id": "bigint", "deleted_at": "timestamptz"}

# The API's idempotency keys and the answers they were given, kept in the order's own transaction. None of the shop's tables: not in
# the lake, and no foreign key, so that it never keeps an order from being deleted. Its age is looked up in the order of writing.
MAKE_IDEMPOTENCY_KEYS: tuple[str, ...] = (
    "create table if not exists idempotency_keys ("
    + ", ".join(f"{n} {t} not null" for n, t in IDEMPOTENCY_KEYS.items())
    + ", primary key (key))",
    "create index if not exists idempotency_keys_created_at_idx on idempotency_keys using brin (created_at)",
    "comment on table idempotency_keys is 'Keys of the API''s requests, what their bodies were, and the answers they were given.'",
)

# What the schema has beside the shop's tables.
_BESIDE = {"deletions": DELETIONS, "idempotency_keys": IDEMPOTENCY_KEYS}

_FULL_TYPE = {"timestamptz": "timestamp with time zone"}

# Any number; the same for all who make the schema, so that two at a time wait for each other.
_LOCK = 0x5261696E


def create_schema(connection: Connection) -> None:
    """Make every table, key, check, index and trigger that is not there yet, in the connection's transaction.

    Raises DataError when a table of one of these names exists with other columns, or is a view; it names the table and column.
    """
    connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
    connection.execute("set local client_min_messages = warning")
    check_columns(connection)
    for table in TABLES:
        connection.execute(create_table(table))
    connection.execute("create table if not exists deletions (" + ", ".join(f"{n} {t} not null" for n, t in DELETIONS.items()) + ")")
    connection.execute("comment on table deletions is 'Which row of which table was deleted, and when; filled by a trigger.'")
    connection.execute("create index if not exists deletions_deleted_at_idx on deletions (deleted_at)")
    for statement in MAKE_IDEMPOTENCY_KEYS:
        connection.execute(statement)
    connection.execute(_RECORD_DELETION)
    for table in TABLES:
        for statement in _settings_of(table):
            connection.execute(statement)
    create_keys(connection)


def drop_schema(connection: Connection) -> None:
    """Drop the tables and all their rows, in the connection's transaction. A table that is not there is passed over."""
    connection.execute("set local client_min_messages = warning")
    for table in reversed(TABLES):
        connection.execute(f"drop table if exists {table.name} cascade")
    connection.execute("drop table if exists deletions, idempotency_keys")
    connection.execute("drop function if exists record_deletion()")


def empty_schema(connection: Connection) -> None:
    """Remove all rows, the record of deletes and the API's keys too, and start the ids again.

    The tables stay, so what publishes them stays right. Rows of other tables that reference them go with them.
    """
    connection.execute("set local client_min_messages = warning")
    # the record of deletes is emptied as well
    connection.execute("select set_config(%s, 'on', true)", [_UNRECORDED])
    connection.execute(f"truncate {', '.join(t.name for t in TABLES)}, deletions, idempotency_keys restart identity cascade")
    connection.execute("select set_config(%s, '', true)", [_UNRECORDED])


def first_filled(connection: Connection) -> str | None:
    """The name of the first table that holds a row, or None when the shop is empty."""
    for table in TABLES:
        if connection.execute(f"select 1 from {table.name} limit 1").fetchone():
            return table.name
    return None


def set_clock(connection: Connection, moment: datetime) -> None:
    """Deletes in the rest of this transaction are noted as of ``moment`` instead of the transaction's own time."""
    connection.execute("select set_config(%s, %s, true)", [CLOCK, moment.isoformat()])


def create_table(table: Table) -> str:
    """The statement that makes ``table`` with its key and checks, without its foreign keys."""
    lines = [_column(table, column) for column in table.columns]
    lines.append(f"constraint {table.name}_pkey primary key ({table.key})")
    return f"create table if not exists {table.name} (\n    " + ",\n    ".join(lines) + "\n)"


def create_keys(connection: Connection) -> None:
    """Add the keys and the indexes that are not there. On a table full of rows, each is one pass over it."""
    there = {row[0] for row in connection.execute(_KEYS_THAT_ARE)}
    for table in TABLES:
        if f"{table.name}_pkey" not in there:
            connection.execute(f"alter table {table.name} add constraint {table.name}_pkey primary key ({table.key})")
    for name, table_name, column in _indexes():
        connection.execute(f"create index if not exists {name} on {table_name} ({column})")
    for name, table_name, column, parent in _foreign_keys():
        if name not in there:
            connection.execute(f"alter table {table_name} add constraint {name} foreign key ({column}) references {parent} (id)")


def drop_keys(connection: Connection) -> None:
    """Drop the keys and the indexes, so that a bulk load need not keep them row by row; for the time of one transaction.

    A primary key that a table of someone else's references stays.
    """
    for name, table_name, _, _ in _foreign_keys():
        connection.execute(f"alter table {table_name} drop constraint if exists {name}")
    for name, _, _ in _indexes():
        connection.execute(f"drop index if exists {name}")
    held = {row[0] for row in connection.execute("select confrelid::regclass::text from pg_constraint where contype = 'f'")}
    for table in TABLES:
        if table.name not in held:
            connection.execute(f"alter table {table.name} drop constraint if exists {table.name}_pkey")


def set_sequences(connection: Connection, above: dict[str, int] | None = None) -> None:
    """Let each table's next id be past its largest one, and past ``above[table]`` where that is given."""
    for table in TABLES:
        floor = (above or {}).get(table.name, 0)
        connection.execute(
            f"select setval(pg_get_serial_sequence(%s, %s), 1 + greatest(%s, (select max({table.key}) from {table.name})), false)",
            [table.name, table.key, floor],
        )


def check_columns(connection: Connection) -> None:
    """Compare the tables that exist with the declaration.

    Raises DataError, naming table and column, for a column that is missing, of another type, unknown, or a relation that is no table.
    """
    found: dict[str, dict[str, str]] = {}
    for name, kind, column, type_ in connection.execute(_COLUMNS_THAT_ARE, [[*BY_NAME, *_BESIDE]]):
        if kind not in ("r", "p"):
            raise DataError(f"{name} exists and is not a table, so the schema cannot be made here: use another database, or rename it")
        found.setdefault(name, {})[column] = type_
    for name, columns in found.items():
        wanted = _BESIDE.get(name) or {c.name: c.type for c in BY_NAME[name].columns}
        for column, type_ in wanted.items():
            if column not in columns:
                raise DataError(
                    f"table {name} exists without the column {column}: it is another shop's; rename it, or use another database"
                )
            if columns[column] != _FULL_TYPE.get(type_, type_):
                raise DataError(
                    f"table {name} exists with {column} as {columns[column]} instead of {type_}: rename it, or use another database"
                )
        if unknown := [column for column in columns if column not in wanted]:
            raise DataError(
                f"table {name} exists with the column {unknown[0]}, which is not declared: declare it in rainbow/source/tables.py"
            )


def _column(table: Table, column: Column) -> str:
    if column.name == table.key:
        return f"{column.name} {column.type} not null generated by default as identity"
    rules = [column.name, column.type]
    if not column.nullable:
        rules.append("not null")
    if column.check:
        rules.append(f"constraint {table.name}_{column.name}_check check ({column.check})")
    return " ".join(rules)


def _foreign_keys() -> Iterator[tuple[str, str, str, str]]:
    for table in TABLES:
        for column in table.columns:
            if column.references:
                yield f"{table.name}_{column.name}_fkey", table.name, column.name, column.references


def _indexes() -> Iterator[tuple[str, str, str]]:
    for table in TABLES:
        yield f"{table.name}_updated_at_idx", table.name, "updated_at"
    for table_name, column in INDEXED:
        yield f"{table_name}_{column.replace(', ', '_')}_idx", table_name, column


def _settings_of(table: Table) -> Iterator[str]:
    # The images before a change carry the whole row, which tells the mirror the day that a line leaves.
    yield f"alter table {table.name} replica identity full"
    for name, event in {
        "record_deletion": f"after delete on {table.name} for each row",
        "record_other_id": f"after update of {table.key} on {table.name} for each row when (old.{table.key} <> new.{table.key})",
        "record_truncation": f"before truncate on {table.name} for each statement",
    }.items():
        yield f"create or replace trigger {name} {event} execute function record_deletion()"
    if table.description:
        yield f"comment on table {table.name} is {_quoted(table.description)}"
    for column in table.columns:
        if column.description:
            yield f"comment on column {table.name}.{column.name} is {_quoted(column.description)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_RECORD_DELETION = f"""
create or replace function record_deletion() returns trigger language plpgsql as $$
declare
    moment timestamptz := coalesce(nullif(current_setting('{CLOCK}', true), '')::timestamptz, transaction_timestamp());
begin
    if tg_op <> 'TRUNCATE' then
        insert into deletions (table_name, row_id, deleted_at) values (tg_table_name, old.id, moment);
    elsif coalesce(current_setting('{_UNRECORDED}', true), '') = '' then
        execute format('insert into deletions (table_name, row_id, deleted_at) select $1, id, $2 from %I.%I', tg_table_schema, tg_table_name)
        using tg_table_name, moment;
    end if;
    return null;
end
$$
"""

_KEYS_THAT_ARE = "select conname from pg_constraint where contype in ('p', 'f') and connamespace = to_regnamespace(current_schema())"

_COLUMNS_THAT_ARE = """
select c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod)
from pg_class c
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relnamespace = to_regnamespace(current_schema()) and c.relname = any(%s) and c.relkind in ('r', 'p', 'v', 'm', 'f')
order by c.relname, a.attnum
"""
