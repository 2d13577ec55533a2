"""The mirror's tables as they are in ClickHouse now: looked up, made for a table that nobody declared, and widened.

Another mirror of the group may widen a table too, so what is known is looked up again before each change and after each insert that
ClickHouse refused. The history is changed first: what reaches a table reaches its history with the same columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rainbow.olap.mirror import kept, tables
from rainbow.olap.mirror.tables import OWN_COLUMNS
from rainbow.source.tables import BY_NAME, TABLES
from streaming.mirror.columns import infer, parts
from streaming.mirror.envelopes import Row, UnusableError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# names that are taken in the database ``mirror``, and endings of such
_TAKEN = frozenset({"_snapshots", "_truncations", *kept.KEPT})
_ENDINGS = ("_history", "_to_days", "_to_placements")


@dataclass(frozen=True)
class MirrorTable:
    """A table: its key columns, its source columns with their ClickHouse types, and which of these no event may change."""

    name: str
    keys: tuple[str, ...]
    columns: dict[str, str]
    declared: frozenset[str] = field(default_factory=frozenset)

    @property
    def quoted(self) -> str:
        """The table's name as SQL writes it."""
        return f"mirror.{quoted(self.name)}"

    @property
    def history(self) -> str:
        """The name of its history as SQL writes it."""
        return f"mirror.{quoted(f'{self.name}_history')}"


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


class Tables:
    """The tables of the database ``mirror``, by name; safe to share between threads that work on different tables.

    ``patient`` is a client for what goes through a whole history, which may take minutes.
    """

    def __init__(self, client: Client, patient: Client) -> None:
        self._client, self.patient = client, patient
        self._known: dict[str, MirrorTable] = {}

    def prepare(self) -> None:
        """Make the declared tables, where they are not there, and those of their columns that were declared since."""
        kept.create_all(self.patient, TABLES)
        for table in TABLES:
            found = self.look_up(table.name)
            types = tables.columns(table)
            if found and (new := types.keys() - found.columns.keys()):
                # NULL in what is there already: only the source knows
                self.add(found, {name: parts(types[name])[0] for name in types if name in new})

    def of(self, name: str, key: Row | None = None) -> MirrorTable | None:
        """A table; one that is not there is made with this key's columns. None when there is no key to make it with. Raises UnusableError."""
        found = self._known.get(name) or self.look_up(name)
        if found is None and key is not None:
            if _is_taken(name):
                raise UnusableError(f"the mirror keeps tables of its own under such names as {name}")
            for statement in tables.create(name, tuple(map(_checked, key)), {c: infer([v]) or "String" for c, v in key.items()}):
                self._client.command(statement)
            found = self.look_up(name)
        return found

    def known(self, name: str) -> MirrorTable | None:
        """A table as it was when it was last looked up; None when it was not. Asks ClickHouse for nothing."""
        return self._known.get(name)

    def look_up(self, name: str) -> MirrorTable | None:
        """A table as it is in ClickHouse now; None when it is not there, or what fills its history is not: that is made last."""
        if _is_taken(name):
            return None
        rows = self._client.query(
            """select name, type, is_in_sorting_key from system.columns where database = 'mirror' and table = {name:String}
                   and (select count() from system.tables where database = 'mirror' and name = concat({name:String}, '_to_history')) > 0
               order by position""",
            parameters={"name": name},
        ).result_rows
        self._known.pop(name, None)
        if rows:
            keys = tuple(column for column, _, is_key in rows if is_key)
            columns = {column: type_ for column, type_, _ in rows if column not in OWN_COLUMNS}
            declared = frozenset(BY_NAME[name].column_names if name in BY_NAME else ())
            self._known[name] = MirrorTable(name, keys, columns, declared)
        return self._known.get(name)

    def forget(self) -> None:
        """Look everything up again when it is next wanted."""
        self._known.clear()

    def add(self, table: MirrorTable, columns: Mapping[str, str]) -> MirrorTable:
        """Add nullable columns of these types, without their nullability."""
        return self._alter(table, [f"add column if not exists {quoted(_checked(name))} Nullable({base})" for name, base in columns.items()])

    def widen(self, table: MirrorTable, columns: Mapping[str, str]) -> MirrorTable:
        """Give columns other types; their nullability stays."""
        changes = []
        for name, base in columns.items():
            nullable = parts(table.columns[name])[1]
            changes.append(f"modify column {quoted(name)} {f'Nullable({base})' if nullable else base}")
        return self._alter(table, changes)

    def loosen(self, table: MirrorTable, columns: Iterable[str]) -> MirrorTable:
        """Let columns be NULL."""
        return self._alter(table, [f"modify column {quoted(name)} Nullable({table.columns[name]})" for name in columns])

    def holds_exactly_as_float(self, table: MirrorTable, column: str) -> bool:
        """Whether each whole number of a column is one of those that a Float64 holds exactly."""
        found = self._client.query(f"select max(abs(toInt128({quoted(column)}))) from {table.history}").result_rows
        return int(found[0][0] or 0) <= 1 << 53

    def _alter(self, table: MirrorTable, changes: list[str]) -> MirrorTable:
        """Change the history; then the table, until both are alike: another mirror may have done otherwise meanwhile."""
        self._client.command(f"alter table {table.history} {', '.join(changes)}")
        while differing := self._differing(table.name):
            follow = ", ".join(
                f"{'add column if not exists' if is_new else 'modify column'} {quoted(column)} {type_}"
                for column, type_, is_new in differing
            )
            self._client.command(f"alter table {table.quoted} {follow}")
        altered = self.look_up(table.name)
        assert altered, table.name
        return altered

    def _differing(self, name: str) -> list[tuple[str, str, bool]]:
        """The columns that a history has otherwise than its table, with their types there, and whether the table has none of the name."""
        rows = self._client.query(
            """select name, anyIf(type, table != {name:String}), count() = 1 from system.columns
               where database = 'mirror' and table in ({name:String}, concat({name:String}, '_history'))
               group by name having uniqExact(type) > 1 or count() = 1 and any(table) != {name:String}""",
            parameters={"name": name},
        ).result_rows
        return [(column, type_, bool(is_new)) for column, type_, is_new in rows]


def _is_taken(name: str) -> bool:
    return name in _TAKEN or name.endswith(_ENDINGS)


def _checked(column: str) -> str:
    if column in OWN_COLUMNS:
        raise UnusableError(f"its column {column} has the name of one of the mirror's own")
    return column
