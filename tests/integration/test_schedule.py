"""``rainbow schedule`` as cron and systemd run it: in processes of its own, which meet each other, signals and stopped services."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from rainbow.partitions.dates import today
from rainbow.partitions.locks import FileLocks
from rainbow.runs.schedule import LedgerWork
from rainbow.settings import settings
from rainbow.source.schema import create_schema
from tests.integration.homes import Home, home
from tests.integration.small_shop import at, open_shop, sell

pytestmark = pytest.mark.services


@dataclass
class Shop:
    """A shop that sold something on each of the last three days, of which the first was run."""

    home: Home
    days: tuple[date, date, date]

    def start(self, *words: str, once: bool = True) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAINBOW_")}
        return subprocess.Popen(
            [sys.executable, "-c", "from rainbow.cli import main; main()", "schedule", *(["--once"] if once else []), *words],
            env={**environment, "RAINBOW_HOME": str(self.home.path), **self.home.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def sell(self, *days: date) -> None:
        """An order more on each of these days, which makes them due."""
        with psycopg.connect(self.home.url("postgres"), autocommit=True) as connection:
            for day in days:
                (number,) = connection.execute("select max(id) + 1 from orderdetails").fetchone() or (1,)
                sell(connection, number, at(day))

    def orders(self) -> list[int]:
        """How many orders ClickHouse has of each day."""
        answer = self.home.run("query", "--on", "olap", "--format", "csv", "select orders from batch.total_sales order by sales_date")
        return [int(line) for line in answer.stdout.split()[1:]]

    def runs(self) -> list[tuple[date, str]]:
        """Day and status of each run, in the order in which they began."""
        with closing(sqlite3.connect(self.home.path / "ledger.sqlite")) as ledger:
            rows = ledger.execute("select first, status from runs order by started_at").fetchall()
        return [(date.fromisoformat(first), status) for first, status in rows]

    def catch_up(self) -> None:
        """Let a schedule do what is due."""
        assert self.home.run("schedule", "--once", "--quiet").returncode == 0

    def batch(self) -> str:
        """Who has the lock of batch runs."""
        return FileLocks(self.home.path / "locks").owner("batch") or ""


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    days = (today() - timedelta(days=3), today() - timedelta(days=2), today() - timedelta(days=1))
    with home() as place:
        place.environment["RAINBOW_REPORTS_DIR"] = str(place.path / "reports")
        place.up()
        with psycopg.connect(place.url("postgres"), autocommit=True) as connection:
            create_schema(connection)
            open_shop(connection)
            for order, day in enumerate(days, start=1):
                sell(connection, order, at(day))
        done = place.run("run", str(days[0]))
        assert done.returncode == 0, done.stderr
        yield Shop(place, days)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_in_the_middle_of_a_run_ends_it_cleanly(shop: Shop, number: int, code: int) -> None:
    shop.sell(shop.days[1])
    process = shop.start()
    begun = time.monotonic()
    while f"process {process.pid}" not in shop.batch():
        assert time.monotonic() - begun < 60
        time.sleep(0.05)
    time.sleep(2)
    process.send_signal(number)
    said, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert "Traceback" not in error
    assert ("stopped" in said) == (number == signal.SIGTERM)
    assert shop.runs()[-1] == (shop.days[1], "interrupted")
    assert shop.batch() == ""


def test_two_schedules_at_once_run_each_missed_day_once_and_in_order(shop: Shop) -> None:
    shop.sell(*shop.days[1:])
    before = len(shop.runs())
    both = [shop.start(), shop.start()]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert Counter("another schedule is at work" in out for out, _ in said) == {True: 1, False: 1}
    assert shop.runs()[before:] == [(shop.days[1], "done"), (shop.days[2], "done")]


def test_what_is_done_is_not_run_again_and_quiet_prints_nothing(shop: Shop) -> None:
    shop.catch_up()
    before = shop.runs()
    again = shop.home.run("schedule", "--once", "--quiet")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert shop.runs() == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_while_there_is_nothing_to_do_ends_it_at_once(shop: Shop, number: int, code: int) -> None:
    shop.catch_up()
    process = shop.start("--retries", "1", once=False)
    assert process.stdout
    while "all is done up to" not in (line := process.stdout.readline()):
        assert line
    begun = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in error) == (code, False)
    assert time.monotonic() - begun < 5


def test_late_rows_are_restated_and_a_run_by_hand_is_waited_for(shop: Shop) -> None:
    shop.catch_up()
    before = shop.orders()
    shop.sell(shop.days[1])
    by_hand = FileLocks(shop.home.path / "locks").take("batch", "a run by hand")
    assert by_hand
    process = shop.start()
    assert process.stdout
    lines = []
    while "waits for another run (a run by hand)" not in (line := process.stdout.readline()):
        assert line, lines
        lines.append(line)
    assert process.poll() is None
    by_hand.let_go()
    said, error = process.communicate(timeout=120)
    assert (process.returncode, error) == (0, ""), said
    assert shop.orders() == [before[0], before[1] + 1, before[2]]


def test_a_stopped_service_is_a_line_and_the_next_schedule_makes_up_for_it(shop: Shop) -> None:
    shop.catch_up()
    shop.sell(shop.days[2])
    shop.home.run("down", "bigquery")
    failed = shop.home.run("schedule", "--once", "--retries", "0", "--quiet")
    assert failed.returncode == 1
    assert failed.stdout == ""
    (line,) = failed.stderr.strip().splitlines()
    assert f"{shop.days[2]} failed" in line
    assert "given up until the next day is due" in line
    shop.home.up()
    assert shop.home.run("schedule", "--once").returncode == 0
    assert shop.runs()[-1] == (shop.days[2], "done")


def test_a_second_schedule_that_is_to_stay_is_refused(shop: Shop) -> None:
    held = FileLocks(shop.home.path / "locks").take("schedule", "the other")
    assert held
    refused = shop.home.run("schedule")
    held.let_go()
    assert refused.returncode == 1
    assert refused.stderr.strip() == "rainbow: another schedule is at work: stop it first, or use --once"


def test_a_lock_that_ended_with_its_connection_is_taken_again(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a ledger in PostgreSQL, which was started again in the night."""
    monkeypatch.setenv("RAINBOW_LEDGER_URL", database)
    settings.cache_clear()
    one, other = (LedgerWork(clock=lambda: datetime.now(UTC), pause=lambda _: None, say=print) for _ in range(2))
    with one.alone() as alone, psycopg.connect(database, autocommit=True) as admin:
        assert alone
        assert one.first() is None
        admin.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        )
        assert one.first() is None
        with other.alone() as also:
            assert not also
