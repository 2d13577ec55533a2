"""Which data set the shop holds and how far it was replayed; kept in PostgreSQL, so that a day and its note commit together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]

_TABLE = """
create schema if not exists rainbow_demo;
create table if not exists rainbow_demo.replay (
    single boolean primary key default true check (single),
    dataset text not null,
    seed bigint not null,
    scale double precision not null,
    start date not null,
    done date not null
);
comment on table rainbow_demo.replay is 'The data set that the shop holds, the first day of its replay and the last day that is in.'
"""


@dataclass(frozen=True)
class ReplayState:
    """``start`` is the first day of the replay and ``done`` the last day in the shop; the day before ``start`` at first."""

    dataset: str
    seed: int
    scale: float
    start: date
    done: date

    @property
    def next_day(self) -> date:
        """The day that a replay would do next."""
        return self.done + timedelta(1)


def read_state(connection: Connection, *, lock: bool = False) -> ReplayState | None:
    """The state, or None when the shop holds no data set; ``lock`` keeps other replays out until the transaction ends."""
    there = connection.execute("select to_regclass('rainbow_demo.replay')").fetchone()
    if there is None or there[0] is None:
        return None
    row = connection.execute(
        "select dataset, seed, scale, start, done from rainbow_demo.replay" + (" for update" if lock else "")
    ).fetchone()
    return ReplayState(*row) if row else None


def write_state(connection: Connection, state: ReplayState) -> None:
    """Note the state, in the connection's transaction."""
    connection.execute("set local client_min_messages = warning")
    connection.execute(_TABLE)
    connection.execute("delete from rainbow_demo.replay")
    connection.execute(
        "insert into rainbow_demo.replay (dataset, seed, scale, start, done) values (%s, %s, %s, %s, %s)",
        [state.dataset, state.seed, state.scale, state.start, state.done],
    )


def note_done(connection: Connection, day: date) -> None:
    """Note that ``day`` is in, in the transaction that put it in."""
    connection.execute("update rainbow_demo.replay set done = %s", [day])


def forget_state(connection: Connection) -> None:
    """The shop holds no data set."""
    if read_state(connection):
        connection.execute("delete from rainbow_demo.replay")
