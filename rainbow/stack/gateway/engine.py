"""The engine over one data folder, and the connections that it lends to requests.

A request without a session gets a connection that has exactly its database and settings: a new one, or an idle one that was
prepared alike and has not been changed since. A session keeps one connection for all its requests.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from rainbow.stack.gateway.connection import Connection, name
from rainbow.stack.gateway.errors import EngineError
from rainbow.stack.gateway.request import External, Query

IDLE_LIMIT = 16
SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")

# what kinds of statement a session's request may run that is readonly; without a session the engine itself refuses
KINDS = {"0": None, "1": ("READ_ONLY",), "2": ("READ_ONLY", "CONTROL")}


@dataclass
class Session:
    """A connection that outlives its requests, until none came for a while."""

    connection: Connection
    expires: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    # values that its settings have without those that a request lends them
    own: dict[str, str | None] = field(default_factory=dict)

    def lend_settings(self, settings: dict[str, str]) -> None:
        """Take a request's settings, and give back what earlier requests lent and this one does not."""
        returned = [setting for setting in self.own if setting not in settings]
        self.connection.reset({setting: self.own.pop(setting) for setting in returned})
        new = [setting for setting in settings if setting not in self.own]
        if new:
            self.own |= self.connection.current(new)


class Loan:
    """A connection that a request has until it closes the loan; ``unchanged`` says that another may have it as it is."""

    def __init__(self, engine: Engine, query: Query, connection: Connection, session: Session | None, key: object) -> None:
        self._engine = engine
        self._query = query
        self._session = session
        self._key = key
        self._closed = False
        self.connection = connection
        self.unchanged = False

    def judge(self, statement: str) -> bool:
        """Whether the statement only reads; raises EngineError for one that a readonly request may not run."""
        kind = self.connection.kind(statement)
        allowed = KINDS.get(self._query.settings.get("readonly", "0"), ("READ_ONLY",))
        if self._session and allowed and kind not in allowed:
            raise EngineError.of(164, "READONLY", "default: Cannot execute query in readonly mode")
        return kind == "READ_ONLY"

    def close(self) -> None:
        """Give the connection back."""
        if self._closed:
            return
        self._closed = True
        if self._session is None:
            self._engine.take_back(self.connection, self._key if self.unchanged else None)
        else:
            for external in self._query.externals:
                self.connection.run(f"drop temporary table if exists {name(external.name)}")
            self._engine.leave(self._session, self._query)


class Engine:
    """ClickHouse over one data folder; no second process can open the folder."""

    def __init__(self, data: Path) -> None:
        self._path = str(data)
        self._first = Connection(self._path)
        self._idle: OrderedDict[int, tuple[object, Connection]] = OrderedDict()
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self.version, self.timezone = self._first.run("select version(), timezone()").bytes().decode().rstrip("\n").split("\t")

    def lend(self, query: Query) -> Loan:
        """A connection with the request's database, settings, parameters and tables; raises EngineError."""
        for setting in query.settings:
            if not SETTING.fullmatch(setting):
                raise EngineError.of(115, "UNKNOWN_SETTING", f"Unknown setting '{setting}'")
        if query.session_id:
            return self._lend_session(query, query.session_id)
        alone = query.parameters or query.externals
        key = None if alone else (query.database, tuple(sorted(query.settings.items())))
        with self._lock:
            known = next((number for number, (other, _) in self._idle.items() if other == key), None)
            if known is not None:
                return Loan(self, query, self._idle.pop(known)[1], None, key)
        connection = Connection(self._path)
        try:
            _prepare(connection, query, query.settings)
        except BaseException:
            connection.close()
            raise
        return Loan(self, query, connection, None, key)

    def take_back(self, connection: Connection, key: object) -> None:
        """Keep a connection for the next request of the same kind, or (without a key) close it."""
        if key is None:
            connection.close()
            return
        with self._lock:
            self._idle[id(connection)] = (key, connection)
            oldest = self._idle.popitem(last=False)[1][1] if len(self._idle) > IDLE_LIMIT else None
        if oldest:
            oldest.close()

    def leave(self, session: Session, query: Query) -> None:
        """A session's request has ended; the session waits for its next one, or ends if the request said so."""
        session.expires = time.monotonic() + query.session_timeout
        if query.close_session and query.session_id:
            with self._lock:
                self._sessions.pop(query.session_id, None)
            session.connection.close()
        session.lock.release()

    def close(self) -> None:
        """Close every connection; what was acknowledged is on disk before that."""
        for connection in [connection for _, connection in self._idle.values()] + [one.connection for one in self._sessions.values()]:
            connection.close()
        self._first.close()

    def _lend_session(self, query: Query, session_id: str) -> Loan:
        session = self._enter(session_id, query.session_check)
        loan = Loan(self, query, session.connection, session, None)
        # readonly could not be undone on a connection that lives on, so `Loan.judge` sees to it
        settings = {setting: value for setting, value in query.settings.items() if setting != "readonly"}
        try:
            session.lend_settings(settings)
            _prepare(session.connection, query, settings)
        except BaseException:
            loan.close()
            raise
        return loan

    def _enter(self, session_id: str, must_exist: bool) -> Session:
        """The session, locked for one request; a new one if there is none."""
        now = time.monotonic()
        with self._lock:
            for known, session in list(self._sessions.items()):
                if session.expires < now and not session.lock.locked():
                    self._sessions.pop(known).connection.close()
            if session_id not in self._sessions:
                if must_exist:
                    raise EngineError.of(372, "SESSION_NOT_FOUND", f"Session {session_id} not found")
                self._sessions[session_id] = Session(Connection(self._path))
            session = self._sessions[session_id]
            if not session.lock.acquire(blocking=False):
                raise EngineError.of(373, "SESSION_IS_LOCKED", f"Session {session_id} is locked by a concurrent client")
        return session


def _prepare(connection: Connection, query: Query, settings: dict[str, str]) -> None:
    """Set what the request asks for; settings come last, since nothing can be changed once ``readonly`` is set."""
    if query.database:
        connection.use(query.database)
    for external in query.externals:
        _create(connection, external)
    connection.set(settings, query.parameters)


def _create(connection: Connection, external: External) -> None:
    """Make a table that came with the request."""
    connection.run(f"create temporary table {name(external.name)} ({external.structure})")
    with connection.inserter(f"insert into {name(external.name)}", external.format) as inserter:
        inserter.append(external.data)
        inserter.finish()
