"""Making the table of idempotency keys where it is not there, and forgetting keys that are older than they are kept."""

from __future__ import annotations

import asyncio
import contextlib

import psycopg

from api.database import Database, statement
from rainbow.source.schema import MAKE_IDEMPOTENCY_KEYS

HOUR = 3600.0

# in small parts, so that no order waits for it
_FORGET = statement(
    "forget_keys",
    """
    with old as (select key from idempotency_keys where created_at < now() - make_interval(days => $1::int) limit 1000 for update skip locked)
    delete from idempotency_keys k using old where k.key = old.key returning 1
    """,
)


_MAKE = [statement(f"make_keys_{n}", text) for n, text in enumerate(MAKE_IDEMPOTENCY_KEYS)]


async def keep_forgetting(database: Database, days: int, stopping: asyncio.Event) -> None:
    """Prepare the table as soon as the database answers, then forget old keys every hour, until told to stop."""
    while not stopping.is_set() and not await _prepared(database):
        await _passed(1, stopping)
    while not stopping.is_set():
        with contextlib.suppress(psycopg.Error):
            await forget(database, days)
        await _passed(HOUR, stopping)


async def _passed(seconds: float, stopping: asyncio.Event) -> bool:
    """Wait for some seconds, or until told to stop; whether it is to stop."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)
    return stopping.is_set()


async def forget(database: Database, days: int) -> int:
    """Forget the keys older than this many days; how many they were."""
    forgotten = 0
    async with database.session() as session:
        while found := len(await session.ask(_FORGET, days)):
            forgotten += found
    return forgotten


async def _prepared(database: Database) -> bool:
    """Make the table in a shop that was made without it; whether that could be done."""
    try:
        async with database.session() as session:
            for step in _MAKE:
                await session.ask(step)
    except psycopg.Error:
        return False
    return True
