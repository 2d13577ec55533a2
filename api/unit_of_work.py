"""The unit of work: one transaction, rolled back unless it was committed.

After cosmicpython's pattern (https://www.cosmicpython.com/book/chapter_06_uow.html). What is queued goes out with the next question
or with the commit, so that a transaction of two steps is two round trips.
"""

from __future__ import annotations

from types import TracebackType

from psycopg.pq import TransactionStatus

from api.database import Connection, Database, Session, statement
from api.repositories import OrderRepository

BEGIN = statement("begin", "begin")
COMMIT = statement("commit", "commit")
ROLLBACK = statement("rollback", "rollback")

UNFINISHED = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


class UnitOfWork:
    """``async with UnitOfWork(database) as work``: the repositories work in its transaction; ``await work.commit()`` keeps it."""

    orders: OrderRepository
    connected = False
    committing = False

    def __init__(self, database: Database) -> None:
        self._database = database

    async def __aenter__(self) -> UnitOfWork:
        """Take a connection; raises psycopg.OperationalError when there is none to be had in time."""
        self._connection: Connection = await self._database.take()
        self.connected = True
        self._session = Session(self._connection)
        self._session.queue(BEGIN)
        self.orders = OrderRepository(self._session)
        return self

    async def commit(self) -> None:
        """Send what is queued and commit, in one round trip; raises psycopg.Error, and nothing is kept, when a statement fails.

        When the connection is lost on the way, nobody knows whether it was kept: ``committing`` tells such a failure from others.
        """
        self._session.queue(COMMIT)
        self.committing = True
        await self._session.exchange()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Undo what was not committed, and give the connection back."""
        try:
            if self._connection.pgconn.transaction_status in UNFINISHED:
                await Session(self._connection).ask(ROLLBACK)
        finally:
            await self._database.give_back(self._connection)
