"""Living through a data set's days: each day's members, changes, orders and deletes, at the day's own moments, in one transaction a day.

What is in is noted in the same transaction, so a replay that was killed goes on where it was, and loses and doubles nothing. A day
is the same whether it is replayed alone or among others; it does not go through the API and does not need it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from time import perf_counter
from typing import Any

import psycopg

from rainbow.datasets.catalogue import open_dataset
from rainbow.datasets.loading import add_members, change, copy_rows, remove_products
from rainbow.datasets.shop import Dataset, Day
from rainbow.datasets.state import ReplayState, note_done, read_state
from rainbow.errors import DataError
from rainbow.source.tables import TABLES

Connection = psycopg.Connection[Any]

_ATTEMPTS = 5
_SEED_FIRST = "`rainbow seed --dataset completejourney --from 2017-11-23` makes one"


@dataclass(frozen=True)
class ReplayedDay:
    """A day that was put in: its orders and lines, the rows that were added or changed beside them, and how long it took."""

    day: date
    orders: int
    lines: int
    added: int
    changed: int
    seconds: float


def replay_state(connection: Connection) -> ReplayState:
    """The data set that the shop holds and how far it is.

    Raises DataError when it holds none.
    """
    state = read_state(connection)
    if state is None:
        raise DataError(f"the shop holds no data set that could be replayed: {_SEED_FIRST}")
    return state


def replay(connection: Connection, until: date, *, on_progress: Callable[[ReplayedDay], None] = lambda done: None) -> list[ReplayedDay]:
    """Replay the days that are not in yet, up to ``until`` inclusive; none when they all are. ``on_progress`` is told of each one.

    Raises DataError when the shop holds no data set, or ``until`` is not a day of its replay.
    """
    with connection.transaction():
        state = replay_state(connection)
    dataset = open_dataset(state.dataset, state.seed, state.scale)
    if not state.start <= until <= dataset.days[-1]:
        raise DataError(f"{until} is not a day of this replay: it runs from {state.start} to {dataset.days[-1]}")
    replayed = []
    for day in dataset.days:
        if state.done < day <= until and (done := replay_day(connection, dataset, day)):
            on_progress(done)
            replayed.append(done)
    return replayed


def replay_day(connection: Connection, dataset: Dataset, day: date) -> ReplayedDay | None:
    """Put ``day`` in, in one transaction; None, and nothing is changed, when it is in already.

    Raises DataError when the shop holds another data set, when a day before it is missing, and when someone else's change to the
    shop stands in the way.
    """
    with connection.transaction():
        state = _state_before(connection, dataset, day)
    if day <= state.done:
        return None
    began = perf_counter()
    happened = dataset.day(day, state.start)
    for attempt in range(_ATTEMPTS):
        try:
            with connection.transaction():
                if _state_before(connection, dataset, day).done != state.done:
                    return None
                _put_in(connection, happened)
                note_done(connection, day)
            break
        except psycopg.errors.DeadlockDetected:
            if attempt == _ATTEMPTS - 1:
                raise DataError(f"{day} was not replayed: other transactions held its rows {_ATTEMPTS} times; replay again") from None
        except psycopg.errors.IntegrityError as error:
            detail = error.diag.message_detail or error.diag.message_primary
            raise DataError(f"{day} cannot be replayed, the shop was changed by others: {detail}; seed it again with --reset") from error
    return _summary(happened, perf_counter() - began)


def _state_before(connection: Connection, dataset: Dataset, day: date) -> ReplayState:
    """The state, locked for the rest of the transaction, if ``day`` is in already or is the next one.

    Raises DataError otherwise, and when the shop holds another data set.
    """
    state = read_state(connection, lock=True)
    if state is None or (state.dataset, state.seed, state.scale) != (dataset.name, dataset.seed, dataset.scale):
        raise DataError(f"the shop does not hold {dataset.name} with the seed {dataset.seed}: {_SEED_FIRST}")
    if day not in dataset.days or day > state.next_day:
        raise DataError(f"{day} cannot be replayed now: the next day is {state.next_day}, the last {dataset.days[-1]}")
    return state


def _put_in(connection: Connection, day: Day) -> None:
    for table in TABLES:
        if table.name in day.members:
            add_members(connection, table.name, day.members[table.name])
    for update in day.updates:
        change(connection, update)
    for table in TABLES:
        if table.name in day.orders:
            copy_rows(connection, table.name, day.orders[table.name])
    for delete in day.deletes:
        remove_products(connection, delete)


def _summary(day: Day, seconds: float) -> ReplayedDay:
    rows = {table: members.num_rows for table, members in day.orders.items()}
    return ReplayedDay(
        day=day.day,
        orders=rows.get("orders", 0),
        lines=rows.get("orderdetails", 0),
        added=sum(members.num_rows for members in day.members.values()),
        changed=sum(update.rows.num_rows for update in day.updates),
        seconds=seconds,
    )
