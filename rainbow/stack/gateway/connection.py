"""A chdb connection with ClickHouse's exceptions.

chdb's connections share one engine per process and folder, work at the same time, and each has its own settings, database and
temporary tables. A connection itself does one thing at a time.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import chdb

from rainbow.stack.gateway.errors import EngineError, raised_by_chdb


class Connection:
    """One connection to the engine over the folder ``path``; opening it takes 0.2 ms."""

    def __init__(self, path: str) -> None:
        self._chdb = chdb.connect(path)

    def close(self) -> None:
        """Close it; its settings and temporary tables are gone then."""
        self._chdb.close()

    def run(self, statement: str, format_name: str = "TabSeparated") -> Any:
        """Run a statement to its end; returns chdb's result. Raises EngineError."""
        with raised_by_chdb():
            return self._chdb.query(statement, format_name)

    def stream(self, statement: str, format_name: str) -> Generator[bytes, None, None]:
        """Run a query and give its answer block by block; raises EngineError at the block where it happens."""
        with raised_by_chdb():
            result = self._chdb.send_query(statement, format_name)
            try:
                for block in result:
                    if content := block.bytes():
                        yield content
            finally:
                result.close()

    @contextmanager
    def inserter(self, statement: str, format_name: str) -> Iterator[Inserter]:
        """An INSERT whose data come piece by piece; one that is left without `Inserter.finish` is given up."""
        with raised_by_chdb():
            opened = self._chdb.send_insert(statement, format_name)
        try:
            yield Inserter(opened)
        finally:
            opened.close()

    def kind(self, statement: str) -> str:
        """What the statement would do: READ_ONLY, MUTATING, CONTROL (settings, temporary tables) and others.

        Raises EngineError when it is several statements.
        """
        about = self._chdb._conn.classify_query(statement)
        if about["statement_count"] > 1:
            raise EngineError.of(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
        return about["query_class"].name

    def use(self, database: str) -> None:
        """Make a database the current one."""
        self.run(f"use {name(database)}")

    def set(self, settings: Mapping[str, str], parameters: Mapping[str, str]) -> None:
        """Set settings, and the parameters that a statement names in braces."""
        changes = [f"{setting} = {text(value)}" for setting, value in settings.items()]
        changes += [f"param_{parameter} = {text(value)}" for parameter, value in parameters.items()]
        if changes:
            self.run(f"set {', '.join(changes)}")

    def reset(self, settings: Mapping[str, str | None]) -> None:
        """Set settings to values they had; None is the default."""
        for setting, value in settings.items():
            self.run(f"set {setting} = {'default' if value is None else text(value)}")

    def current(self, settings: list[str]) -> dict[str, str | None]:
        """The values of settings; None for one that was not changed."""
        listed = ", ".join(map(text, settings))
        rows = self.run(f"select name, value from system.settings where changed and name in ({listed})", "JSONCompactColumns").bytes()
        return dict.fromkeys(settings) | dict(zip(*json.loads(rows), strict=True))


class Inserter:
    """An INSERT that is taking its data."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened

    def append(self, data: bytes) -> None:
        """Give it data in its format, cut anywhere; raises EngineError."""
        with raised_by_chdb():
            self._opened.append(data)

    def finish(self) -> tuple[int, int]:
        """End it, and return the rows and bytes written, which a killed server still has. Raises EngineError."""
        with raised_by_chdb():
            result = self._opened.finish()
        return result.rows_written, result.bytes_written


def text(value: str) -> str:
    """A text as SQL writes it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def name(value: str) -> str:
    """A table's or database's name as SQL writes it."""
    return "`" + value.replace("\\", "\\\\").replace("`", "\\`") + "`"
