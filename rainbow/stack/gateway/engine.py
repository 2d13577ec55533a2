"""The engine: chdb connections, one a request or one a session, and the statements that run on them.

chdb's connections share one engine per process and folder, work at the same time, and each has its own settings, database and
temporary tables; opening one takes 0.1 ms. So a request's settings never reach another request.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import chdb

from rainbow.stack.gateway.request import External, Query

SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
ERROR_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")


class EngineError(Exception):
    """An exception of ClickHouse: its code and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @classmethod
    def of(cls, code: int, name: str, message: str) -> EngineError:
        """An exception that the gateway raises itself, written as ClickHouse writes its own."""
        return cls(code, f"Code: {code}. DB::Exception: {message}. ({name})")


@dataclass
class Session:
    """A connection that outlives its request: settings, database and temporary tables stay until nobody asked for a while."""

    connection: Any
    expires: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    lent: dict[str, str] = field(default_factory=dict)


class Engine:
    """ClickHouse over one data folder; the process that has it open is the only one that can."""

    def __init__(self, data: Path) -> None:
        self._path = str(data)
        self._main = chdb.connect(self._path)
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self.version = self.scalar("select version()")
        self.timezone = self.scalar("select timezone()")

    def scalar(self, statement: str) -> str:
        """The one value that a statement gives, as text."""
        return self._main.query(statement, "TabSeparated").bytes().decode().rstrip("\n")

    def close(self) -> None:
        """Close every connection; what was acknowledged is on disk before that."""
        for session in self._sessions.values():
            session.connection.close()
        self._main.close()

    def lend(self, query: Query) -> Loan:
        """A connection with the request's database, settings, parameters and tables; raises EngineError."""
        session = self._session(query) if query.session_id else None
        loan = Loan(self, session.connection if session else chdb.connect(self._path), session, query)
        try:
            loan.prepare()
        except BaseException:
            loan.close()
            raise
        return loan

    def forget(self, session: Session) -> None:
        """End a session."""
        with self._lock:
            for name in [name for name, known in self._sessions.items() if known is session]:
                del self._sessions[name]
        session.connection.close()

    def _session(self, query: Query) -> Session:
        assert query.session_id is not None
        now = time.monotonic()
        with self._lock:
            for name, known in list(self._sessions.items()):
                if known.expires < now and name != query.session_id and not known.lock.locked():
                    self._sessions.pop(name).connection.close()
            session = self._sessions.get(query.session_id)
            if session and session.expires < now and not session.lock.locked():
                self._sessions.pop(query.session_id).connection.close()
                session = None
            if session is None:
                if query.session_check:
                    raise EngineError.of(372, "SESSION_NOT_FOUND", f"Session {query.session_id} not found")
                session = self._sessions[query.session_id] = Session(chdb.connect(self._path))
            if not session.lock.acquire(blocking=False):
                raise EngineError.of(373, "SESSION_IS_LOCKED", f"Session {query.session_id} is locked by a concurrent client")
            session.expires = now + query.session_timeout
        return session


class Loan:
    """A connection for one request. `close` gives it back to its session, or ends it."""

    def __init__(self, engine: Engine, connection: Any, session: Session | None, query: Query) -> None:
        self._engine = engine
        self._connection = connection
        self._session = session
        self._query = query
        self._externals: list[str] = []
        self._closed = False

    def prepare(self) -> None:
        """Set what the request asks for; ``readonly`` comes last, since nothing can be set after it."""
        query = self._query
        if query.database:
            self.run(f"use {_name(query.database)}")
        for external in query.externals:
            self._take(external)
        wanted = dict(query.settings)
        if self._session:
            # a session is not closed by its request: what can't be undone on it is judged per statement (`judge`)
            wanted.pop("readonly", None)
            self._return_settings(set(wanted))
            self._remember_settings(set(wanted))
        for name in wanted:
            if not SETTING_NAME.fullmatch(name):
                raise EngineError.of(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
        changes = [f"{name} = {_text(value)}" for name, value in wanted.items()]
        changes += [f"{_param(name)} = {_text(value)}" for name, value in query.parameters.items()]
        if changes:
            self.run(f"set {', '.join(changes)}")

    def run(self, statement: str, format_name: str = "TabSeparated") -> Any:
        """Run a statement to its end; returns chdb's result. Raises EngineError."""
        try:
            return self._connection.query(statement, format_name)
        except RuntimeError as error:
            raise _engine_error(error) from None

    def judge(self, statement: str) -> bool:
        """Whether the statement only reads, so that its answer can be streamed.

        Raises EngineError for several statements at once, and for a write in a session whose request is readonly.
        """
        about = self._connection._conn.classify_query(statement)
        if about["statement_count"] > 1:
            raise EngineError.of(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
        readonly = self._query.settings.get("readonly", "0")
        allowed = {"0": None, "1": ("READ_ONLY",), "2": ("READ_ONLY", "CONTROL")}.get(readonly, ("READ_ONLY",))
        if self._session and allowed and about["query_class"].name not in allowed:
            raise EngineError.of(164, "READONLY", "default: Cannot execute query in readonly mode")
        return about["query_class"].name == "READ_ONLY"

    def stream(self, statement: str, format_name: str) -> Generator[bytes, None, None]:
        """Run a statement and give its answer block by block; raises EngineError at the block where it happens."""
        try:
            result = self._connection.send_query(statement, format_name)
        except RuntimeError as error:
            raise _engine_error(error) from None
        try:
            while True:
                try:
                    block = next(result)
                except StopIteration:
                    return
                except RuntimeError as error:
                    raise _engine_error(error) from None
                if content := block.bytes():
                    yield content
        finally:
            result.close()

    def insert(self, statement: str, format_name: str) -> Any:
        """Begin an INSERT that takes its data piece by piece; returns chdb's inserter."""
        try:
            return self._connection.send_insert(statement, format_name)
        except RuntimeError as error:
            raise _engine_error(error) from None

    def close(self) -> None:
        """Give the connection back."""
        if self._closed:
            return
        self._closed = True
        if self._session is None:
            self._connection.close()
            return
        for name in self._externals:
            self._connection.query(f"drop temporary table if exists {_name(name)}", "Null")
        self._session.expires = time.monotonic() + self._query.session_timeout
        self._session.lock.release()
        if self._query.close_session:
            self._engine.forget(self._session)

    def _take(self, external: External) -> None:
        self.run(f"create temporary table {_name(external.name)} ({external.structure})")
        self._externals.append(external.name)
        inserter = self.insert(f"insert into {_name(external.name)}", external.format)
        fill(inserter, external.data)
        finish(inserter)

    def _return_settings(self, keep: set[str]) -> None:
        """Give a session back the values that an earlier request lent it."""
        assert self._session
        for name in [name for name in self._session.lent if name not in keep]:
            self.run(f"set {name} = {self._session.lent.pop(name)}")

    def _remember_settings(self, names: set[str]) -> None:
        """Note a session's own values of the settings that this request changes."""
        assert self._session
        new = sorted(name for name in names - set(self._session.lent) if SETTING_NAME.fullmatch(name))
        if new:
            listed = ", ".join(_text(name) for name in new)
            rows = self.run(
                f"select name, value from system.settings where changed and name in ({listed}) format JSONCompactColumns"
            ).bytes()
            changed = dict(zip(*json.loads(rows), strict=True))
            self._session.lent |= {name: _text(changed[name]) if name in changed else "default" for name in new}


def fill(inserter: Any, data: bytes) -> None:
    """Add data to an INSERT; raises EngineError."""
    try:
        inserter.append(data)
    except RuntimeError as error:
        raise _engine_error(error) from None


def finish(inserter: Any) -> Any:
    """End an INSERT: all of it is on disk when this returns its counts. Raises EngineError."""
    try:
        return inserter.finish()
    except RuntimeError as error:
        raise _engine_error(error) from None


def _engine_error(error: RuntimeError) -> EngineError:
    text = str(error).strip()
    codes = ERROR_CODE.findall(text)
    # chdb wraps an exception in itself, code and all
    text = re.sub(r"^(Code: \d+\. DB::Exception: )(?=Code: \d+\. DB::Exception: )", "", text)
    return EngineError(int(codes[0]) if codes else 1002, text if codes else f"Code: 1002. DB::Exception: {text}")


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _name(value: str) -> str:
    return "`" + value.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _param(name: str) -> str:
    if not re.fullmatch(r"\w+", name):
        raise EngineError.of(36, "BAD_ARGUMENTS", f"A parameter cannot be called {name}")
    return f"param_{name}"
