"""Connections to the shop's database, and sending it several statements in one round trip.

An order costs what its round trips cost, so statements are queued and go out together in libpq's pipeline mode
(https://www.postgresql.org/docs/current/libpq-pipeline-mode.html). psycopg's own pipeline does the same; measured beside it, sending
straight through ``connection.pgconn`` takes a fifth of the time, since no cursor is made for each statement. psycopg connects, pools,
and turns results into Python values. SQL is constant text; values travel as parameters only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg_pool import AsyncConnectionPool

Parameter = None | int | str | Decimal | date | Sequence[int | Decimal | None]
Row = tuple[Any, ...]

# Array statements are planned once, not at each call; a call that hangs ends by itself, and so does one whose client is gone.
OPTIONS = (
    "-c timezone=UTC -c plan_cache_mode=force_generic_plan -c statement_timeout=10s -c lock_timeout=5s"
    " -c idle_in_transaction_session_timeout=30s"
)
PATIENCE = 20.0

_GOOD = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, prepared under its name at its first use on a connection."""

    name: bytes
    text: bytes


def statement(name: str, text: str) -> Statement:
    """A statement with the parameters ``$1``, ``$2`` ..., each cast to its type where PostgreSQL cannot tell it."""
    return Statement(name.encode(), text.encode())


class Connection(psycopg.AsyncConnection[Any]):
    """A connection that knows which statements it has prepared, and stays known to the loop between its exchanges.

    To be taken out of the loop's list and put in again at each exchange would cost two system calls.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.prepared: set[bytes] = set()
        self.loader = Transformer(self)
        self._loop = asyncio.get_running_loop()
        self._watched = -1
        self._answer: asyncio.Future[list[pq.abc.PGresult]] | None = None
        self._got: list[pq.abc.PGresult] = []

    async def wait(self, *args: Any, **options: Any) -> Any:
        """Let psycopg itself use the connection: it watches the socket in its own way."""
        self._unwatch()
        return await super().wait(*args, **options)

    async def close(self) -> None:
        """Close the connection."""
        self._unwatch()
        await super().close()

    async def answer(self) -> list[pq.abc.PGresult]:
        """Send what libpq holds and wait, without blocking the loop, for everything up to the pipeline's end.

        Raises psycopg.OperationalError when the connection is lost or nothing comes within ``PATIENCE``.
        """
        self._got, self._answer = [], self._loop.create_future()
        if self._watched < 0:
            self._watched = self.pgconn.socket
            self._loop.add_reader(self._watched, self._read)
        if self.pgconn.flush():
            self._loop.add_writer(self._watched, self._write)
        limit = self._loop.call_later(PATIENCE, self._fail, psycopg.OperationalError(f"no answer within {PATIENCE:.0f} s"))
        try:
            return await self._answer
        finally:
            limit.cancel()
            self._answer = None

    def _read(self) -> None:
        pgconn, answer = self.pgconn, self._answer
        try:
            pgconn.consume_input()
            if answer is None or answer.done():
                # a notice, or the server's farewell
                if pgconn.status == pq.ConnStatus.BAD:
                    self._unwatch()
                return
            while not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:
                    continue
                if result.status == pq.ExecStatus.PIPELINE_SYNC:
                    answer.set_result(self._got)
                    return
                self._got.append(result)
                if pgconn.status == pq.ConnStatus.BAD:
                    self._fail(psycopg.errors.error_from_result(result))
                    return
        except psycopg.Error as error:
            self._fail(error)

    def _write(self) -> None:
        try:
            if not self.pgconn.flush():
                self._loop.remove_writer(self._watched)
        except psycopg.Error as error:
            self._fail(error)

    def _fail(self, error: psycopg.Error) -> None:
        self._unwatch()
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)

    def _unwatch(self) -> None:
        if self._watched >= 0:
            self._loop.remove_reader(self._watched)
            self._loop.remove_writer(self._watched)
            self._watched = -1


class Session:
    """A connection in use: ``queue`` statements, then ``exchange`` them for their rows."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._queued: list[tuple[Statement, list[bytes | None]]] = []

    def queue(self, wanted: Statement, *parameters: Parameter) -> None:
        """Send this with the next exchange."""
        self._queued.append((wanted, [_text(value) for value in parameters]))

    async def ask(self, wanted: Statement, *parameters: Parameter) -> list[Row]:
        """One statement alone, and its rows."""
        self.queue(wanted, *parameters)
        return (await self.exchange())[-1]

    async def exchange(self) -> list[list[Row]]:
        """Send what is queued and wait for all of it; the rows of each statement.

        Raises the psycopg.Error of the first statement that failed; those after it were not run. A connection on which the exchange was
        broken off is closed, so that nobody meets the rest of it.
        """
        connection, pgconn = self.connection, self.connection.pgconn
        queued, self._queued = self._queued, []
        fresh: list[Statement | None] = []
        try:
            pgconn.enter_pipeline_mode()
            for wanted, values in queued:
                if wanted.name not in connection.prepared and wanted not in fresh:
                    pgconn.send_prepare(wanted.name, wanted.text)
                    fresh.append(wanted)
                pgconn.send_query_prepared(wanted.name, values)
                fresh.append(None)
            pgconn.pipeline_sync()
            results = await connection.answer()
            pgconn.exit_pipeline_mode()
        except BaseException:
            await connection.close()
            raise
        rows: list[list[Row]] = []
        for prepared, result in zip(fresh, results, strict=True):
            if result.status not in _GOOD:
                raise psycopg.errors.error_from_result(result)
            if prepared:
                connection.prepared.add(prepared.name)
            else:
                rows.append(self._loaded(result))
        return rows

    def _loaded(self, result: pq.abc.PGresult) -> list[Row]:
        if not result.ntuples:
            return []
        loader = self.connection.loader
        loader.set_pgresult(result)
        return loader.load_rows(0, result.ntuples, tuple)


class Database:
    """The pool of connections of one process."""

    def __init__(self, url: str, *, size: int, patience: float) -> None:
        """``size`` connections at most; who waits longer than ``patience`` seconds for one gets psycopg_pool.PoolTimeout."""
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            connection_class=Connection,
            kwargs={"autocommit": True, "options": OPTIONS, "application_name": "rainbow-api", "connect_timeout": 5},
            min_size=min(2, size),
            max_size=size,
            timeout=patience,
            max_waiting=1000,
            reconnect_timeout=10,
            open=False,
        )

    async def open(self) -> None:
        """Begin to connect, in the background: a database that is down is no reason not to start."""
        await self.pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self.pool.close(timeout=5)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A connection for a while. Raises psycopg.OperationalError when there is none to be had in time."""
        connection = await self.take()
        try:
            yield Session(connection)
        finally:
            await self.give_back(connection)

    async def take(self) -> Connection:
        """A connection, to be given back; one whose server has said farewell meanwhile is passed over.

        Raises psycopg.OperationalError (PoolTimeout among them) when there is none to be had in time.
        """
        while True:
            connection = await self.pool.getconn()
            if connection.pgconn.status == pq.ConnStatus.OK:
                return connection
            await self.pool.putconn(connection)

    async def give_back(self, connection: Connection) -> None:
        """End the use of a connection; one that is broken is replaced."""
        await self.pool.putconn(connection)


def _text(value: Parameter) -> bytes | None:
    """A value in PostgreSQL's text format; a sequence of numbers as an array."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return ("{" + ",".join(["NULL" if v is None else str(v) for v in value]) + "}").encode()
    return value.isoformat().encode() if isinstance(value, date) else str(value).encode()
