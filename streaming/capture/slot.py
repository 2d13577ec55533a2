"""The replication slot: where it is, who uses it, and what a server that refuses one has to be told."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from rainbow.errors import LockedError, RainbowError, ServiceError

SLOT = "rainbow"

# of the advisory lock that a capture holds: "rainbow" in ASCII
_LOCK = 0x7261696E626F77

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Slot:
    """A slot as it is: its database, the server process that reads from it now, whether what it needs is gone."""

    plugin: str
    database: str
    process: int | None
    lost: bool


def look(connection: Connection, name: str = SLOT) -> Slot | None:
    """The slot of this name, of whatever database."""
    row = connection.execute(
        """select plugin::text, database::text, active_pid, coalesce(wal_status, '') = 'lost' or confirmed_flush_lsn is null
           from pg_replication_slots where slot_name = %s and slot_type = 'logical'""",
        [name],
    ).fetchone()
    return None if row is None else Slot(*row)


def lock(connection: Connection, mine: int | None, seconds: float, check: Callable[[], None]) -> None:
    """Be the database's only capture, from before its slot is looked at for as long as this connection lives.

    A slot by itself does not do: while a snapshot is taken nobody reads from it. ``mine`` is the process that served this capture's
    connection before; it is ended if it still holds the lock. Raises LockedError when another one holds it for longer than ``seconds``.
    """
    until = time.monotonic() + seconds
    while not _one(connection, "select pg_try_advisory_lock(%s)", _LOCK):
        holder = _one(
            connection,
            """select max(l.pid) from pg_locks l join pg_database d on d.oid = l.database
               where l.locktype = 'advisory' and d.datname = current_database() and l.granted
                     and l.classid::bigint << 32 | l.objid::bigint = %s and l.objsubid = 1""",
            _LOCK,
        )
        if holder is not None and holder == mine:
            connection.execute("select pg_terminate_backend(%s)", [mine])
        elif time.monotonic() > until:
            raise LockedError(f"another capture follows this database (server process {holder}): stop that one first, one a shop is enough")
        check()
        time.sleep(0.05)


def _one(connection: Connection, query: LiteralString, value: int) -> Any:
    row = connection.execute(query, [value]).fetchone()
    return row and row[0]


def claim(connection: Connection, mine: int | None, seconds: float, check: Callable[[], None]) -> Slot | None:
    """The slot, once nobody reads from it. ``mine`` is the process that served this capture before; it is ended if it still holds the slot.

    Raises LockedError when another one holds it for longer than ``seconds``, ServiceError when it is another database's.
    """
    until = time.monotonic() + seconds
    while True:
        slot = look(connection)
        if slot is None:
            return None
        if slot.database != connection.info.dbname:
            raise ServiceError(
                f"the slot {SLOT} belongs to the database {slot.database}: stop its capture and drop it there, `select pg_drop_replication_slot('{SLOT}')`"
            )
        if slot.plugin != "pgoutput":
            raise ServiceError(f"the slot {SLOT} is another program's (it uses {slot.plugin}): drop it, or rename it there")
        if slot.process is None:
            return slot
        if slot.process == mine:
            connection.execute("select pg_terminate_backend(%s)", [mine])
        elif time.monotonic() > until:
            raise LockedError(
                f"the slot {SLOT} is in use by another program (server process {slot.process}): stop that one first, only capture reads from it"
            )
        check()
        time.sleep(0.05)


def drop(connection: Connection, name: str = SLOT) -> None:
    """Drop the slot, if it is there."""
    with suppress(psycopg.errors.UndefinedObject):
        connection.execute("select pg_drop_replication_slot(%s)", [name])


def refusal(error: psycopg.Error, user: str) -> RainbowError | None:
    """What the user has to do about an error of the server's; None for one that may pass by itself."""
    text = reason(error)
    if "row-level security" in text:
        return ServiceError(
            f"the role {user} does not see all rows of what is published ({text}): `alter role {user} bypassrls`, as a superuser"
        )
    if "permission denied for" in text:
        return ServiceError(
            f"the role {user} may not read what is published ({text}): `grant select on all tables in schema public to {user}`"
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege) or any(sign in text for sign in _NO_REPLICATION):
        return ServiceError(f"the role {user} may not replicate ({text}): `alter role {user} replication`, as a superuser")
    if "replication slots are in use" in text:
        return ServiceError(
            f"PostgreSQL has no slot left ({text}): raise max_replication_slots and restart it, or drop a slot nobody reads"
        )
    if "max_wal_senders" in text:
        return ServiceError(f"PostgreSQL has no sender left ({text}): raise max_wal_senders and restart it")
    if "wal_level" in text:
        return ServiceError(f"capture needs wal_level = logical ({text}): `alter system set wal_level = logical`, then restart PostgreSQL")
    if isinstance(error, psycopg.OperationalError) and any(sign in text for sign in _FOR_GOOD):
        return ServiceError(f"PostgreSQL does not let us in: {text}; see `rainbow status`, or set RAINBOW_POSTGRES_URL")
    return None


def reason(error: psycopg.Error) -> str:
    """The server's own words, without details and hints."""
    lines = (error.diag.message_primary or str(error)).strip().splitlines() or [type(error).__name__]
    told = next((line for line in lines if "FATAL:" in line or "ERROR:" in line), lines[0])
    return told.rpartition("FATAL:")[2].rpartition("ERROR:")[2].strip()


# as PostgreSQL says it since version 16, and before; at the start of a connection psycopg has no error code
_NO_REPLICATION = ("permission denied to start WAL sender", "must be superuser or replication role to start walsender")

_FOR_GOOD = (
    "password authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "no password supplied",
    "is not permitted to log in",
)
