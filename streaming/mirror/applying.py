"""Bringing changes into ClickHouse: one table's rows as one Arrow insert, truncations in their place between.

All of it may be done again, whole or in part, at any time and by another mirror: a row is told by its key and position.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError

from rainbow.olap.client import words_of
from rainbow.olap.mirror.kept import after_insert
from rainbow.olap.mirror.tables import OWN_COLUMNS
from rainbow.source.tables import BY_NAME
from streaming.mirror import earlier
from streaming.mirror.columns import FAULTS, WIDENS, blank, convert, faults, infer, parts, widened
from streaming.mirror.envelopes import Change, Message, Truncation, UnusableError
from streaming.mirror.envelopes import key_of as key_in
from streaming.mirror.tables import MirrorTable, Tables
from streaming.mirror.truncations import truncate

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

log = logging.getLogger("rainbow.mirror")

# what ClickHouse says of data that it cannot take, by number; all else is to be tried again
DATA_ERRORS = frozenset({6, 16, 26, 27, 33, 38, 41, 43, 44, 53, 69, 70, 72, 117, 131, 321, 349, 407, 636})

Rejected = tuple[Message, str]

_OWN = tuple(OWN_COLUMNS)


class GivenUpError(OSError):
    """Bringing in was given up before its end."""


def apply(
    client: Client,
    tables: Tables,
    name: str,
    changes: Sequence[Change | Truncation],
    ready: tuple[MirrorTable, pa.Table] | None,
    given_up: threading.Event,
) -> list[Rejected]:
    """Bring a table's changes in, in order; returns the messages that could not be used, with the reasons.

    ``ready`` is what `prepare` made of them and for which table, if it was asked to. Raises ClickHouseError when ClickHouse does not answer,
    GivenUpError at the next truncation when it is given up; the same call then has to be made again.
    """
    if ready and ready[0] is tables.of(name) and ready[1].num_rows == len(changes):
        try:
            _insert_arrow(client, ready[0], ready[1])
        except ClickHouseError as error:
            if getattr(error, "code", None) not in DATA_ERRORS:
                raise
        else:
            return []
    rejected: list[Rejected] = []
    rows: list[Change] = []
    for change in changes:
        if isinstance(change, Truncation):
            if given_up.is_set():
                raise GivenUpError(f"{name} was not brought in to its end")
            rejected += _insert(client, tables, name, rows)
            rows = []
            if table := tables.of(name):
                truncate(tables.patient, table, change)
        else:
            rows.append(change)
    return rejected + _insert(client, tables, name, rows)


def _insert(client: Client, tables: Tables, name: str, rows: list[Change]) -> list[Rejected]:
    """Insert. Rows that are refused are tried again with the table as it is now, then halved until those at fault stand alone."""
    if not rows:
        return []
    try:
        return _insert_together(client, tables, name, rows)
    except ClickHouseError as error:
        if getattr(error, "code", None) not in DATA_ERRORS:
            raise
        reason = f"ClickHouse refuses it: {words_of(error)}"
    except OSError:
        raise
    except Exception as error:
        log.exception("%s: rows that the mirror cannot cope with", name)
        reason = f"the mirror cannot cope with it: {type(error).__name__}: {error}"
    tables.look_up(name)
    if len(rows) == 1:
        return _once_more(client, tables, name, rows, reason)
    middle = len(rows) // 2
    return _insert(client, tables, name, rows[:middle]) + _insert(client, tables, name, rows[middle:])


def _once_more(client: Client, tables: Tables, name: str, rows: list[Change], reason: str) -> list[Rejected]:
    try:
        return _insert_together(client, tables, name, rows)
    except ClickHouseError as error:
        if getattr(error, "code", None) not in DATA_ERRORS:
            raise
    except OSError:
        raise
    except Exception as error:
        log.debug("%s: again %r", name, error)
    return [(rows[0].message, reason)]


def _insert_together(client: Client, tables: Tables, name: str, rows: list[Change]) -> list[Rejected]:
    rejected: list[Rejected] = []
    table = _table_of(tables, name, rows, rejected)
    if table is None:
        return rejected
    usable = _with_key(table, rows, rejected)
    if any(row.partial for row in usable):
        failed = earlier.complete(client, table, usable)
        rejected += [(row.message, reason) for row, reason in failed]
        usable = _without(usable, [row for row, _ in failed])
    while usable:
        made, unfit = to_arrow(client, tables, name, usable)
        rejected += [(row.message, reason) for row, reason in unfit]
        usable = _without(usable, [row for row, _ in unfit])
        if made is not None:
            _insert_arrow(client, table, made)
            if moved := [row.lsn for row in usable if row.moved]:
                earlier.mend(client, tables.of(name) or table, moved)
            break
    return rejected


def _insert_arrow(client: Client, table: MirrorTable, made: pa.Table) -> None:
    client.insert_arrow(table.quoted, made)
    if table.name in BY_NAME:
        after_insert(client, table.name, made["id"].to_pylist())


def _without(rows: list[Change], those: list[Change]) -> list[Change]:
    gone = set(map(id, those))
    return [row for row in rows if id(row) not in gone] if gone else rows


def _table_of(tables: Tables, name: str, rows: Sequence[Change], rejected: list[Rejected]) -> MirrorTable | None:
    """The table; one that is not there is made with the key of the first row that has one."""
    if table := tables.of(name):
        return table
    reasons = []
    for row in rows:
        try:
            return tables.of(name, key_in(row.message))
        except UnusableError as reason:
            reasons.append((row.message, str(reason)))
    rejected += reasons
    return None


def _with_key(table: MirrorTable, rows: list[Change], rejected: list[Rejected]) -> list[Change]:
    """The rows that have a value in each key column."""
    for name in table.keys:
        usable = [row for row in rows if row.values.get(name) is not None]
        if len(usable) < len(rows):
            reason = f"column {name}: it is part of the key and has no value"
            rejected += [(row.message, reason) for row in rows if row.values.get(name) is None]
        rows = usable
    return rows


def prepare(table: MirrorTable, changes: Sequence[Change | Truncation]) -> pa.Table | None:
    """The changes as an Arrow table, when nothing about them calls for more than that: the common case. Asks ClickHouse for nothing."""
    rows = [change for change in changes if isinstance(change, Change) and not change.partial]
    raw = _by_column(table, rows) if rows and len(rows) == len(changes) else None
    if raw is None:
        return None
    arrays: dict[str, pa.Array] = {}
    for column, values in raw.items():
        base, nullable = parts(table.columns[column])
        try:
            arrays[column] = convert(values, base)
        except FAULTS:
            return None
        if arrays[column].null_count and not nullable:
            return None
    return pa.table(arrays | _own(rows))


def to_arrow(client: Client, tables: Tables, name: str, rows: list[Change]) -> tuple[pa.Table | None, list[tuple[Change, str]]]:
    """The rows as an Arrow table with the mirror table's columns, which is widened where it has to be.

    None when there are rows that do not fit: those are returned, and the rest is to be asked for again. A delete always fits: what
    the table cannot hold of its before image is taken from the version before it.
    """
    table = tables.of(name)
    assert table
    raw = _by_column(table, rows)
    if raw is None:
        if taken := [(row, name) for row in rows for name in _OWN if name in row.values]:
            return None, [(row, f"column {name}: the mirror has a column of this name for its own use") for row, name in taken]
        table = _with_new_columns(tables, table, rows)
        raw = {column: [row.values.get(column) for row in rows] for column in table.columns}
    arrays: dict[str, pa.Array] = {}
    unfit: dict[int, dict[str, str]] = {}
    for column, values in raw.items():
        base, nullable = parts(table.columns[column])
        try:
            array = convert(values, base)
        except FAULTS:
            if column in table.keys or column in table.declared or base not in WIDENS:
                for n, reason in faults(values, base).items():
                    unfit.setdefault(n, {})[column] = reason
                continue
            table = _widen(tables, table, column, values)
            base, nullable = parts(table.columns[column])
            array = convert(values, base)
        if array.null_count and not nullable:
            table, array = _without_nulls(tables, table, column, rows, array)
        arrays[column] = array
    if unfit:
        return None, _unfit(client, table, rows, unfit)
    return pa.table(arrays | _own(rows)), []


def _own(rows: Sequence[Change]) -> dict[str, pa.Array]:
    """The values of the mirror's own columns."""
    (lsn, deleted, txid, committed, snapshot) = zip(*[row[1:6] for row in rows], strict=True)
    return {
        "_lsn": pa.array(lsn, pa.uint64()),
        "_deleted": pa.array(deleted, pa.bool_()).cast(pa.uint8()),
        "_txid": pa.array(txid, pa.uint32()),
        "_committed_at": pa.array(committed, pa.int64()).cast(pa.timestamp("ms", "UTC")),
        "_snapshot": pa.array(list(map(bool, snapshot)), pa.bool_()).cast(pa.uint8()),
    }


def _by_column(table: MirrorTable, rows: Sequence[Change]) -> dict[str, Sequence[Any]] | None:
    """The values by column when each row has exactly the table's columns, the common case; else None."""
    columns = tuple(table.columns)
    if len(columns) < 2 or any(len(row.values) != len(columns) for row in rows):
        return None
    pick = itemgetter(*columns)
    try:
        return dict(zip(columns, zip(*[pick(row.values) for row in rows], strict=True), strict=True))
    except KeyError:
        return None


def _with_new_columns(tables: Tables, table: MirrorTable, rows: Sequence[Change]) -> MirrorTable:
    """The table with a column for each name that has a value somewhere; its type is inferred from the values."""
    known = table.columns
    names = dict.fromkeys(name for row in rows for name in row.values if name not in known)
    new = {name: base for name in names if (base := infer([row.values.get(name) for row in rows]))}
    return tables.add(table, new) if new else table


def _widen(tables: Tables, table: MirrorTable, column: str, values: Sequence[Any]) -> MirrorTable:
    table = tables.look_up(table.name) or table
    base = parts(table.columns[column])[0]
    try:
        convert(values, base)
    except FAULTS:
        base = widened(base, values)
        if base == "Float64" and not tables.holds_exactly_as_float(table, column):
            base = "String"
        return tables.widen(table, {column: base})
    return table


def _without_nulls(
    tables: Tables, table: MirrorTable, column: str, rows: Sequence[Change], array: pa.Array
) -> tuple[MirrorTable, pa.Array]:
    """A column that is not nullable becomes so, unless only deletes lack it, for which something stands in."""
    if any(not valid and not row.deleted for valid, row in zip(array.is_valid().to_pylist(), rows, strict=True)):
        return tables.loosen(table, [column]), array
    return table, array.fill_null(convert([blank(parts(table.columns[column])[0])], parts(table.columns[column])[0])[0])


def _unfit(client: Client, table: MirrorTable, rows: list[Change], unfit: dict[int, dict[str, str]]) -> list[tuple[Change, str]]:
    """Rows that do not fit. A delete among them loses the values that do not, and fits."""
    rejected = []
    for n, faulty in unfit.items():
        row = rows[n]
        if not row.deleted or not faulty.keys().isdisjoint(table.keys):
            rejected.append((row, "; ".join(f"column {column}: {reason}" for column, reason in faulty.items())))
            continue
        before = {name: row.values[name] for name in table.keys}
        earlier.complete(client, table, [row._replace(values=before, partial=True)])
        for column in faulty:
            row.values[column] = before.get(column)
    return rejected
