"""What an event leaves out, from the row's version before it: a big value that was not written again, a deleted row's columns.

The version before is the newest below the event's position, in the batch or else in the history; never simply the newest, since an
event may be read again after later ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from orjson import loads

from streaming.mirror.columns import parts
from streaming.mirror.envelopes import Change, Row, is_unavailable
from streaming.mirror.tables import MirrorTable, quoted

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# how many rows are looked up with one statement
AT_ONCE = 500

# so that a row is read in the form in which an event would bring it
_AS_IN_EVENTS = {"output_format_json_quote_decimals": 1, "output_format_json_quote_64bit_integers": 0, "date_time_output_format": "iso"}

Version = tuple[tuple[Any, ...], int]


def complete(client: Client, table: MirrorTable, changes: Sequence[Change]) -> list[tuple[Change, str]]:
    """Fill in what partial changes leave out, in place; ``changes`` are in order. Returns those that cannot be, with the reason.

    A delete takes what is known and is never among them.
    """
    found = _from_history(client, table, list(_unknown_in_batch(table, changes)))
    newest: dict[tuple[Any, ...], Row] = {}
    failed = []
    for change in changes:
        key = key_of(table, change.values)
        if change.partial:
            before = newest.get(key) or found.get((key, change.lsn), {})
            if missing := _fill(table, change, before):
                reason = f"column {missing}: its value was not written again, and no earlier version of the row is here"
                failed.append((change, reason))
                continue
        newest[key] = change.values
    return failed


def key_of(table: MirrorTable, values: Row) -> tuple[Any, ...]:
    """The values of the key columns."""
    return tuple(values.get(name) for name in table.keys)


def _unknown_in_batch(table: MirrorTable, changes: Sequence[Change]) -> Iterator[Version]:
    """The versions whose predecessor is not in the batch."""
    seen = set()
    for change in changes:
        key = key_of(table, change.values)
        if change.partial and key not in seen:
            yield key, change.lsn
        seen.add(key)


def _fill(table: MirrorTable, change: Change, before: Row) -> str | None:
    """Take from the version before what a change leaves out; returns a column that is not there."""
    values = change.values
    if change.deleted:
        for name, value in before.items():
            if name not in table.keys:
                values[name] = value
        for name in [name for name, value in values.items() if is_unavailable(value)]:
            del values[name]
        return None
    for name, value in values.items():
        if is_unavailable(value):
            if name not in before or is_unavailable(before[name]):
                return name
            values[name] = before[name]
    return None


def _from_history(client: Client, table: MirrorTable, versions: Sequence[Version]) -> dict[Version, Row]:
    """The newest version below each of these, in the form of an event's values."""
    columns = ", ".join(_selected(name, type_) for name, type_ in table.columns.items())
    keys = ", ".join(map(quoted, table.keys))
    numbered = list(enumerate(table.keys, start=1))
    asked = ", ".join(f"w.{n} as k{n}" for n, _ in numbered)
    same = " and ".join(f"v.k{n} = h.{quoted(name)}" for n, name in numbered)
    found = {}
    for start in range(0, len(versions), AT_ONCE):
        some = versions[start : start + AT_ONCE]
        listed = ", ".join(f"({', '.join(map(literal, key))}, {lsn})" for key, lsn in some)
        of_these = ", ".join(f"({', '.join(map(literal, key))})" for key, _ in some)
        rows = client.raw_query(
            f"""select {columns}, v._below as _below
                from (select {asked}, toUInt64(w.{len(numbered) + 1}) as _below from (select arrayJoin([{listed}]) as w)) as v
                asof inner join (select * from {table.history} where ({keys}) in ({of_these})) as h on {same} and v._below > h._lsn
                format JSONEachRow""",
            settings=_AS_IN_EVENTS,
        )
        for line in rows.splitlines():
            row = loads(line)
            below = row.pop("_below")
            found[key_of(table, row), below] = row
    return found


def _selected(name: str, type_: str) -> str:
    """A column as a select names it; a date is a number of days in events."""
    base = parts(type_)[0]
    return f"toInt32(h.{quoted(name)}) as {quoted(name)}" if base == "Date32" else f"h.{quoted(name)} as {quoted(name)}"


def literal(value: Any) -> str:
    """A key's value as SQL writes it."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value).lower() if isinstance(value, bool) else str(value)
