"""What an event leaves out, from the row's version before it: a big value that was not written again, a deleted row's columns.

The version before is the newest below the event's position, in the batch or in the history; never simply the newest, since an event may
be sent or read again after later ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from orjson import loads

from rainbow.olap.mirror.tables import OWN_COLUMNS
from streaming.events import UNAVAILABLE
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
    seen: dict[tuple[Any, ...], list[tuple[int, Row]]] = defaultdict(list)
    failed = []
    for change in changes:
        key = key_of(table, change.values)
        if change.partial:
            below = [version for version in seen[key] if version[0] < change.lsn]
            if (key, change.lsn) in found:
                below.append(found[key, change.lsn])
            if missing := _fill(table, change, max(below, key=itemgetter(0))[1] if below else {}):
                reason = f"column {missing}: its value was not written again, and no earlier version of the row is here"
                failed.append((change, reason))
                continue
        seen[key].append((change.lsn, change.values))
    return failed


def key_of(table: MirrorTable, values: Row) -> tuple[Any, ...]:
    """The values of the key columns."""
    return tuple(values.get(name) for name in table.keys)


def _unknown_in_batch(table: MirrorTable, changes: Sequence[Change]) -> Iterator[Version]:
    """The versions whose predecessor may not be in the batch: it has none, or capture has sent some of the row's again."""
    newest: dict[tuple[Any, ...], int] = {}
    for change in changes:
        key = key_of(table, change.values)
        before = newest.get(key, -1)
        if change.partial and (before < 0 or before >= change.lsn):
            yield key, change.lsn
        newest[key] = max(before, change.lsn)


def _fill(table: MirrorTable, change: Change, before: Row) -> str | None:
    """Take from the version before what a change leaves out; returns a column that is not there.

    A moved row's stays left out until `mend`, and so does what is taken from such a row.
    """
    values = change.values
    left_out = [name for name, value in values.items() if is_unavailable(value)]
    if change.deleted:
        for name in left_out:
            del values[name]
        values.update({name: value for name, value in before.items() if name not in table.keys})
        return None
    for name in left_out:
        if name in before and not change.moved:
            values[name] = before[name]
        elif not change.moved:
            return name
    return None


def mend(client: Client, table: MirrorTable, positions: Iterable[int]) -> None:
    """Give rows that moved to another key, at these positions, the values that were left out; once both sides of the move are here.

    Both sides call this after they are inserted, so whichever comes second finds the other one, in whatever mirror and order.
    """
    texts = [name for name, type_ in table.columns.items() if parts(type_)[0] == "String" and name not in table.keys]
    waiting = sorted(set(positions)) if texts else []
    while waiting:
        position = waiting.pop(0)
        keys = ", ".join(map(quoted, table.keys))
        left_out = " or ".join(f"{quoted(name)} = {literal(UNAVAILABLE)}" for name in texts)
        rows = client.query(
            f"select _deleted, ({keys},), {left_out} from {table.history} final where _lsn = {position} limit 3"
        ).result_rows
        old, new = [key for deleted, key, _ in rows if deleted], [key for deleted, key, lacks in rows if not deleted and lacks]
        if len(old) == len(new) == 1:
            waiting += _mend(client, table, texts, position, old[0], new[0])


def _mend(client: Client, table: MirrorTable, texts: Sequence[str], position: int, old: tuple[Any, ...], new: tuple[Any, ...]) -> list[int]:
    """Copy what the old key's delete has into the versions of the new key; the positions at which that one moved on."""
    keys = f"({', '.join(map(quoted, table.keys))},)"
    there = f"{keys} = ({', '.join(map(literal, new))},) and _lsn >= {position}"
    # up to where the row was deleted or moved again: what comes after that is another row
    ends = client.query(f"select minOrNull(_lsn) from {table.history} where {there} and _lsn > {position} and _deleted").result_rows[0][0]
    if ends is not None:
        there += f" and _lsn <= {ends}"
    source = f"from {table.history} where {keys} = ({', '.join(map(literal, old))},) and _lsn = {position} and _deleted limit 1"
    taken = [
        f"if({quoted(name)} = {literal(UNAVAILABLE)}, (select {quoted(name)} {source}), {quoted(name)}) as {quoted(name)}"
        if name in texts
        else quoted(name)
        for name in table.columns
    ]
    own = ", ".join(OWN_COLUMNS)
    lacking = " or ".join(f"v.{quoted(name)} = {literal(UNAVAILABLE)}" for name in texts)
    client.command(
        f"""insert into {table.quoted} ({", ".join(map(quoted, table.columns))}, {own})
            select {", ".join(taken)}, {own} from (select * from {table.history} as v final where {there} and ({lacking}))"""
    )
    return [] if ends is None else [ends]


def _from_history(client: Client, table: MirrorTable, versions: Sequence[Version]) -> dict[Version, tuple[int, Row]]:
    """The newest version below each of these: its position, and its values in the form of an event's."""
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
            f"""select {columns}, v._below as _below, h._lsn as _lsn
                from (select {asked}, toUInt64(w.{len(numbered) + 1}) as _below from (select arrayJoin([{listed}]) as w)) as v
                asof inner join (select * from {table.history} where ({keys}) in ({of_these})) as h on {same} and v._below > h._lsn
                format JSONEachRow""",
            settings=_AS_IN_EVENTS,
        )
        for line in rows.splitlines():
            row = loads(line)
            below = row.pop("_below")
            found[key_of(table, row), below] = row.pop("_lsn"), row
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
