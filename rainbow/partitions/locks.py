"""Locks that end with their process: what two processes must not do at once, and whether a run's process is still there.

Beside a ledger that is a file, a lock is a file too (flock); beside a ledger in PostgreSQL it is an advisory lock of a session,
so that it holds for all machines that share the ledger. Either is let go by the system when its process ends, however it ends,
so nothing has to be guessed from process ids or clocks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from rainbow.errors import LockedError

_LOOK_SECONDS = 0.1


class Locks(Protocol):
    """Named locks."""

    def take(self, name: str, owner: str) -> Held | None:
        """The lock, or None when another process, or another holder in this one, has it."""

    def owner(self, name: str) -> str | None:
        """What the holder said of itself; None when it is free."""


class Held(Protocol):
    """A lock that is held until it is let go."""

    def let_go(self) -> None:
        """Let it go."""


@contextmanager
def holding(locks: Locks, name: str, owner: str) -> Iterator[None]:
    """Hold a lock. Raises LockedError that says who has it when it is taken."""
    held = locks.take(name, owner)
    if held is None:
        who = locks.owner(name) or "it has just ended"
        raise LockedError(f"another run is under way ({who}): wait for it, or stop it, then run again")
    try:
        yield
    finally:
        held.let_go()


class FileLocks:
    """Locks of one machine: a file each, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, name: str, owner: str) -> _File | None:
        """See ``Locks``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        patience = time.monotonic() + _LOOK_SECONDS
        while True:
            descriptor = os.open(self._path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                # somebody who only looks whether it is held holds it for that moment
                if time.monotonic() < patience:
                    time.sleep(0.01)
                    continue
                return None
            # the holder before this one may have removed the file between the two lines above
            if self._is_at_its_place(descriptor, name):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, owner.encode())
                return _File(descriptor, self._path(name))
            os.close(descriptor)

    def owner(self, name: str) -> str | None:
        """See ``Locks``."""
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(descriptor, 1000).decode(errors="replace") or "unknown"
        finally:
            os.close(descriptor)
        return None

    def _path(self, name: str) -> Path:
        return self.folder / f"{name.replace('/', '-').replace(' ', '-')}.lock"

    def _is_at_its_place(self, descriptor: int, name: str) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path(name).stat())
        except FileNotFoundError:
            return False


class _File:
    def __init__(self, descriptor: int, path: Path) -> None:
        self.descriptor, self.path = descriptor, path

    def let_go(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class PostgresLocks:
    """Locks of all that share a database: advisory locks, each held by a connection of its own (PostgreSQL 13.3.5)."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def take(self, name: str, owner: str) -> _Session | None:
        """See ``Locks``."""
        connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(sa.text("select set_config('application_name', :owner, false)"), {"owner": owner[:63]})
        if connection.execute(sa.text("select pg_try_advisory_lock(:key)"), {"key": _key(name)}).scalar_one():
            return _Session(connection)
        _close(connection)
        return None

    def owner(self, name: str) -> str | None:
        """See ``Locks``."""
        query = sa.text(
            """select application_name from pg_locks join pg_stat_activity using (pid)
               where locktype = 'advisory' and granted and pg_locks.database = (select oid from pg_database where datname = current_database())
                 and (classid::bigint << 32) | objid::bigint = :key and objsubid = 1"""
        )
        with self.engine.connect() as connection:
            found = connection.execute(query, {"key": _key(name)}).scalar()
        return None if found is None else str(found) or "unknown"


class _Session:
    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def let_go(self) -> None:
        _close(self.connection)


def _close(connection: sa.Connection) -> None:
    """Close a connection for good: the lock is the session's, so it must not go back into the pool."""
    connection.invalidate()
    connection.close()


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"rainbow {name}".encode()).digest()[:8], "big", signed=True)
