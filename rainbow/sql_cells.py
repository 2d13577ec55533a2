"""SQL cells for notebooks: ``%%pg``, ``%%bq``, ``%%ch`` and ``%%duck`` ask the services that the settings name, for reading only.

    %%bq sales
    select * from warehouse.fact_sales where date(ordered_at) = {{partition_date}}

gives a DataFrame, or puts it into the variable that the first line names. ``{{name}}`` stands for the value of a variable, written
as that store's literal, so text never becomes SQL. ``%%duck`` has the lake's tables and the notebook's own DataFrames. Amounts stay
Decimal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from rainbow.errors import DataError, RainbowError
from rainbow.query import Answer, Store, query

if TYPE_CHECKING:
    import pandas as pd

CELLS: Mapping[str, Store] = {"pg": "source", "bq": "warehouse", "ch": "olap", "duck": "lake"}
# who takes a backslash in text for the beginning of an escape
_ESCAPING = ("warehouse", "olap")
_VALUE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def register(shell: Any) -> None:
    """Give an IPython shell the cells."""
    for name, store in CELLS.items():
        shell.register_magic_function(partial(_cell, shell, store), magic_kind="cell", magic_name=name)
    shell.set_custom_exc((RainbowError,), _one_line)


def ask(store: Store, sql: str, variables: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """What a cell gives: the rows of a query in which ``{{name}}`` stands for the value of a variable. Raises DataError."""
    import pandas as pd

    text = with_values(store, sql, variables or {})
    answer = _ask_duckdb(text, variables or {}) if store == "lake" else query(store, text)
    return pd.DataFrame(answer.rows, columns=answer.columns)


def with_values(store: Store, sql: str, variables: Mapping[str, Any]) -> str:
    """The query with each ``{{name}}`` replaced by the literal of that variable. Raises DataError when there is none."""

    def written(found: re.Match[str]) -> str:
        if found[1] not in variables:
            raise DataError(f"there is no variable {found[1]} for {{{{{found[1]}}}}}: give it a value in a cell above")
        return literal(store, variables[found[1]])

    return _VALUE.sub(written, sql)


def literal(store: Store, value: Any) -> str:
    """A value as the store's SQL writes it: text, a number, a date, an instant, None, or several of them in parentheses."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float | Decimal):
        return str(value)
    if isinstance(value, list | tuple | set):
        return f"({', '.join(literal(store, one) for one in value)})"
    if isinstance(value, datetime):
        text = value.isoformat(sep=" ")
        return f"parseDateTime64BestEffort('{text}', 6)" if store == "olap" else f"timestamp '{text}'"
    if isinstance(value, date):
        return f"toDate32('{value}')" if store == "olap" else f"date '{value}'"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") if store in _ESCAPING else value.replace("'", "''")
        return f"'{escaped}'"
    raise DataError(f"a {type(value).__name__} cannot be written into a query: give text, a number, a date, or a list of them")


def _cell(shell: Any, store: Store, line: str, cell: str) -> pd.DataFrame | None:
    name = line.strip()
    if name and not name.isidentifier():
        raise DataError(f"{name!r} is no name of a variable: write the query below, and on the first line nothing or one name")
    found = ask(store, cell, shell.user_ns)
    if not name:
        return found
    shell.user_ns[name] = found
    return None


def _ask_duckdb(sql: str, variables: Mapping[str, Any]) -> Answer:
    import duckdb
    import pandas as pd

    from rainbow.lake.read import connect_with_views

    with connect_with_views() as connection:
        for name, value in variables.items():
            if isinstance(value, pd.DataFrame) and re.search(rf"\b{re.escape(name)}\b", sql):
                connection.register(name, value)
        try:
            cursor = connection.execute(sql)
            return Answer([column[0] for column in cursor.description or []], cursor.fetchall())
        except duckdb.Error as error:
            raise DataError(f"DuckDB refuses the query: {str(error).splitlines()[0]}") from error


def _one_line(shell: Any, kind: type[BaseException], error: BaseException, traceback: Any, tb_offset: int | None = None) -> list[str]:
    """An error that a reader can act on, as its line and no traceback."""
    lines = [f"{kind.__name__}: {error}"]
    show: Callable[..., None] = shell._showtraceback
    show(kind, error, lines)
    return lines
