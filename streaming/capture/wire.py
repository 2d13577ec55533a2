"""Connections at libpq's level: a command that can be given up while it runs, the messages of a COPY, and a replication connection.

Logical replication is a COPY in both directions whose messages are described at
https://www.postgresql.org/docs/current/protocol-replication.html; psycopg has it through its ``pq`` layer alone.
"""

from __future__ import annotations

import select
import struct
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

import psycopg
from psycopg import pq

from streaming.capture.pgoutput import EPOCH_MS

# What makes texts the same whatever the server's, the database's or the role's settings say. A connection that hangs is given up by
# the server after some 20 s too, so the slot or the lock it held is free again. Rows that a policy hides are an error, not left out.
_SESSION = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex -c xmloption=content"
    " -c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 -c wal_sender_timeout=20s"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=2 -c row_security=off"
)

_FEEDBACK = struct.Struct(">cqqqqb")

Check = Callable[[], None]

# seconds of silence after which a server that was asked something is given up: a connection may be lost without a word
GIVE_UP_AFTER = 20.0


class SilentError(psycopg.OperationalError):
    """The server was asked something and has not answered."""

    def __init__(self) -> None:
        super().__init__(f"the server has said nothing for {GIVE_UP_AFTER:.0f} seconds")


class _Connection(psycopg.Connection[Any]):
    """A connection that does not wait for an answer for ever. One that gave up is closed."""

    def wait(self, gen: Any, *args: Any, **named: Any) -> Any:
        return super().wait(self._within(gen), *args, **named)

    def _within(self, gen: Any) -> Generator[Any, Any, Any]:
        """The same as a generator of psycopg's, which is sent nothing now and then while the server is silent; see ``psycopg.waiting``."""
        deadline = time.monotonic() + GIVE_UP_AFTER
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > deadline:
                    self.pgconn.finish()
                    raise SilentError
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


def connect(url: str, **options: Any) -> psycopg.Connection[Any]:
    """A connection that commits each statement and prints values as events want them. Raises psycopg.OperationalError."""
    fixed: dict[str, Any] = {
        "autocommit": True,
        "application_name": "rainbow capture",
        "connect_timeout": 5,
        "client_encoding": "utf8",
        "tcp_user_timeout": 20_000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "options": session_options(url),
    }
    return _Connection.connect(url, **{**fixed, **options})


def session_options(url: str) -> str:
    """The options of a session whose values are printed as events want them: the URL's own, then those."""
    asked = psycopg.conninfo.conninfo_to_dict(url).get("options")
    return f"{asked} {_SESSION}" if asked else _SESSION


def command(connection: pq.abc.PGconn, text: str, check: Check, *, seconds: float = GIVE_UP_AFTER) -> pq.abc.PGresult:
    """Send a command and wait for its first result, calling ``check`` meanwhile, which may raise to give it up.

    Raises psycopg's error for what the server refuses, SilentError when it takes longer than this.
    """
    deadline = time.monotonic() + seconds
    connection.send_query(text.encode())
    while connection.flush():
        select.select([], [connection.socket], [], 0.1)
    try:
        while connection.is_busy():
            check()
            if not wait(connection, 0.1) and time.monotonic() > deadline:
                raise SilentError
    except BaseException:
        # a server that waits, for transactions to end as an example, does not notice that nobody waits for it
        with suppress(psycopg.Error):
            connection.get_cancel().cancel()
        raise
    result = connection.get_result()
    assert result is not None
    if result.status == pq.ExecStatus.FATAL_ERROR:
        raise psycopg.errors.error_from_result(result)
    if result.status == pq.ExecStatus.TUPLES_OK:
        finish(connection)
    return result


def wait(connection: pq.abc.PGconn, seconds: float) -> bool:
    """Wait until the server has said something, or the time is over; whether it has. Raises psycopg.OperationalError when it is gone."""
    if not select.select([connection.socket], [], [], seconds)[0]:
        return False
    connection.consume_input()
    return True


class Copy:
    """The messages of a COPY that comes from the server; ``ended`` once there are no more."""

    def __init__(self, connection: pq.abc.PGconn) -> None:
        self._connection = connection
        self.ended = False

    def read(self, most: int) -> list[bytes]:
        """The messages that have arrived, ``most`` at most, without waiting. Raises psycopg's error when the server broke it off."""
        messages: list[Any] = []
        take, get = messages.append, self._connection.get_copy_data
        for _ in range(most):
            size, message = get(1)
            if size <= 0:
                if size < 0:
                    self.ended = True
                    finish(self._connection)
                break
            take(message)
        return messages

    def wait(self, seconds: float) -> bool:
        """Wait until more has come; see ``wait``."""
        return wait(self._connection, seconds)


def finish(connection: pq.abc.PGconn) -> None:
    """Take in the results that are left. Raises psycopg's error for one that failed."""
    while (result := connection.get_result()) is not None:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
        if result.status in (pq.ExecStatus.COPY_BOTH, pq.ExecStatus.COPY_OUT):
            return


def lsn(text: str) -> int:
    """A position as PostgreSQL prints it, in bytes."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(position: int) -> str:
    """A position as PostgreSQL prints it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


@dataclass(frozen=True)
class Server:
    """A server's own number, the same with its timeline, and how far its log is written."""

    system: str
    timeline: str
    position: int


class Replication:
    """A connection in logical replication."""

    def __init__(self, url: str) -> None:
        self.connection = connect(url, replication="database")
        self._wire = self.connection.pgconn
        self._copy = Copy(self._wire)

    @property
    def process(self) -> int:
        """The server process that serves it."""
        return self._wire.backend_pid

    def identify(self, check: Check) -> Server:
        """Which server this is."""
        result = command(self._wire, "IDENTIFY_SYSTEM", check)
        system, timeline, position = ((result.get_value(0, column) or b"").decode() for column in range(3))
        return Server(system, f"{system}/{timeline}", lsn(position))

    def create_slot(self, name: str, *, temporary: bool, check: Check) -> str:
        """Make a slot; the name of its exported snapshot, which lasts until the next command of this connection.

        It is made when the transactions that are open by then have ended. Raises psycopg.Error.
        """
        kind = "TEMPORARY " if temporary else ""
        result = command(self._wire, f"CREATE_REPLICATION_SLOT {name} {kind}LOGICAL pgoutput (SNAPSHOT 'export')", check, seconds=inf)
        exported = result.get_value(0, 2)
        assert exported is not None
        return exported.decode()

    def start(self, slot: str, publication: str, position: int, check: Check) -> None:
        """Begin to stream at a position, or where the slot is if that is further."""
        command(
            self._wire,
            f"START_REPLICATION SLOT {slot} LOGICAL {lsn_text(position)} (proto_version '1', publication_names '\"{publication}\"')",
            check,
        )

    def read(self, most: int) -> list[bytes]:
        """The messages that have arrived; none at all when there is nothing yet. Raises psycopg.OperationalError when it has ended."""
        if self._copy.ended:
            raise psycopg.OperationalError("the server has ended the replication")
        return self._copy.read(most)

    def wait(self, seconds: float) -> bool:
        """Wait for a message; see ``wait``."""
        return wait(self._wire, seconds)

    def confirm(self, received: int, done: int, *, ask: bool = False) -> None:
        """Tell the server what was received, and up to where nothing will be asked for again; with ``ask`` it is to answer."""
        now = (time.time_ns() // 1_000_000 - EPOCH_MS) * 1000
        self._wire.put_copy_data(_FEEDBACK.pack(b"r", max(received, done), done, done, now, ask))
        self._wire.flush()

    def end(self, seconds: float = 5) -> None:
        """End the streaming in good order, so that what was confirmed has arrived; an error is passed over."""
        try:
            self._wire.put_copy_end()
            until = time.monotonic() + seconds
            while time.monotonic() < until and not self._copy.ended:
                if not self._copy.read(10_000):
                    self._wire.flush()
                    self.wait(0.1)
        except psycopg.Error:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()
