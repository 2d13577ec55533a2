"""A shop that is followed: captured into Kafka and mirrored into ClickHouse by processes of their own."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from rainbow.errors import ServiceError
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.olap.serving import serve
from rainbow.source.schema import create_schema
from streaming.progress import wait_until_caught_up, written
from streaming.topics import topic_of
from tests.integration.capturing import records
from tests.integration.mirror_story import Process
from tests.integration.mirroring import watch

Connection = psycopg.Connection[Any]

# the tables that are written and compared
TABLES = ("brands", "categories")


def wait_until(holds: Callable[[], object], seconds: float = 60, what: str = "") -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what or holds
        time.sleep(0.02)


def wait_until_mirrored(seconds: float = 60, *, after: int = 0) -> None:
    """Wait until the mirror has all of an initial snapshot, one taken at a position of the log or beyond, and the views show it."""
    noted = "select count() from system.tables where database = 'mirror' and name = '_snapshots'"
    complete = f"select count() from mirror._snapshots final where completed_at is not null and lsn >= {after}"
    with connect_clickhouse() as client:
        try:
            wait_until(lambda: client.command(noted) and client.command(complete), seconds)
        except AssertionError:
            raise AssertionError(f"after {after}: {client.query('select * from mirror._snapshots final').result_rows}") from None
        # the mirror does so too, a moment after it has noted that it has all
        serve(client)
    wait_until_caught_up(seconds)


def drop_slot(shop: Connection) -> None:
    """Drop the slot; the server may need a moment to notice that its reader is gone."""

    def dropped() -> bool:
        shop.execute(
            "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'rainbow' and active_pid is not null"
        )
        with suppress(psycopg.errors.ObjectInUse):
            shop.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = 'rainbow'")
            return True
        return False

    wait_until(dropped, 20)


class Follower(Process):
    """A command of the speed layer in a process of its own, with settings of its own; what it says is kept."""

    def __init__(self, command: str, log: Path, **named: str) -> None:
        super().__init__(command)
        self._log, self._named = log, {f"RAINBOW_{name.upper()}": value for name, value in named.items()}

    def start(self) -> None:
        with self._log.open("a") as output:
            self._keeper = self._launch(env={**os.environ, **self._named}, stdout=output, stderr=subprocess.STDOUT)

    def __str__(self) -> str:
        return f"{self._command}, {'running' if self.is_alive else 'not running'},"

    @property
    def log(self) -> str:
        return self._log.read_text()

    def until(self, said: str, seconds: float = 60, *, times: int = 1) -> None:
        """Wait until it has said something, so many times."""
        wait_until(lambda: self.log.count(said) >= times, seconds, said)


class Writer:
    """Writes brands and categories without a pause, and goes on when PostgreSQL is back."""

    def __init__(self, url: str) -> None:
        self._url, self._ended = url, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        draw = random.Random(0)
        while not self._ended.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True) as writer:
                    while not self._ended.wait(0.005):
                        with writer.transaction():
                            for table in TABLES:
                                self._change(writer, table, draw)
            except psycopg.Error:
                self._ended.wait(0.1)

    def _change(self, writer: Connection, table: str, draw: random.Random) -> None:
        key, name = draw.randrange(1, 60), str(draw.random())
        insert = f"insert into {table} (id, name, created_at, updated_at) values (%s, %s, now(), now()) on conflict do nothing"
        writer.execute(insert.encode(), [key, name])
        writer.execute(f"update {table} set name = name || '.' where id = %s".encode(), [draw.randrange(1, 60)])
        writer.execute(f"delete from {table} where id = %s".encode(), [draw.randrange(1, 60)])

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()


@dataclass
class Followed:
    """A shop in PostgreSQL with what follows it, and from where on its changes are compared: a position of the log and of the audit."""

    url: str
    capture: Follower
    mirror: Follower
    since: tuple[int, int] = (0, 0)

    def forget(self) -> None:
        """Compare what comes from now on."""
        with psycopg.connect(self.url) as shop:
            (seq,) = shop.execute("select coalesce(max(seq), 0) from audit").fetchone() or (0,)
            self.since = written(shop), seq

    def check(self, seconds: float = 60) -> None:
        """Catch up; then the mirror's rows are PostgreSQL's, and its history has each change once, in order."""
        try:
            self._check(seconds)
        except (AssertionError, ServiceError) as error:
            for one in (self.capture, self.mirror):
                error.add_note("\n".join(["", f"{one} said last:", *one.log.splitlines()[-15:]]))
            raise

    def _check(self, seconds: float) -> None:
        wait_until(lambda: is_caught_up(seconds), seconds)
        self.check_rows()
        with psycopg.connect(self.url) as shop, connect_clickhouse() as client:
            for table in TABLES:
                changes = shop.execute(
                    """select (coalesce(after, before) ->> 'id')::bigint, coalesce(after, before) ->> 'name', after is null
                       from audit where name = %s and seq > %s order by seq""",
                    [table, self.since[1]],
                ).fetchall()
                history = client.query(
                    f"select id, name, _deleted = 1 from mirror.{table}_history final where _lsn >= {self.since[0]} and not _snapshot order by _lsn"
                ).result_rows
                found, wanted = by_key(history), by_key(changes)
                differing = {
                    key: first_difference(found[key], wanted[key]) for key in found.keys() | wanted.keys() if found[key] != wanted[key]
                }
                assert not differing, f"{table}, found and wanted: {differing}; not in the topic: {not_in_topic(table, wanted, differing)}"
        assert "Traceback" not in self.capture.log + self.mirror.log

    def check_rows(self) -> None:
        """Hold the rows of a mirror that is caught up against PostgreSQL's."""
        with psycopg.connect(self.url, options="-c timezone=UTC") as shop, connect_clickhouse() as client:
            for table in TABLES:
                rows = shop.execute(f"select id, name, updated_at from {table} order by id".encode()).fetchall()
                mirrored = client.query(
                    f"select id, name, updated_at from mirror.{table} final order by id", query_tz="UTC", tz_mode="aware"
                )
                assert mirrored.result_rows == rows, f"{table}: {set(mirrored.result_rows) ^ set(rows)}"


def not_in_topic(table: str, wanted: dict[Any, list[tuple[Any, bool]]], keys: Iterable[Any]) -> dict[Any, list[Any]]:
    """Names that rows with these keys had, by what was wanted, and no event tells of: capture or the broker lost them, and not the mirror."""
    told = {
        (record.key["id"], record.value["after"]["name"]) for record in records(topic_of(table)) if record.value and record.value["after"]
    }
    return {key: [name for name, deleted in wanted[key] if not deleted and (key, name) not in told] for key in keys}


def first_difference(found: list[Any], wanted: list[Any]) -> tuple[int, int, int, list[Any], list[Any]]:
    """How many there are of each, where they differ first, and what is around there."""
    place = next((n for n, (one, other) in enumerate(zip(found, wanted, strict=False)) if one != other), min(len(found), len(wanted)))
    around = slice(max(place - 2, 0), place + 3)
    return len(found), len(wanted), place, found[around], wanted[around]


def is_caught_up(seconds: float) -> bool:
    """Whether the mirror has caught up within these seconds; False when a broker that is asked does not answer."""
    try:
        wait_until_caught_up(seconds)
    except ServiceError as error:
        if "does not answer" not in str(error):
            raise
        return False
    return True


@contextmanager
def writing(shop: Followed) -> Iterator[None]:
    """Something is written all the time."""
    writer = Writer(shop.url)
    try:
        yield
    finally:
        writer.stop()


def by_key(versions: Sequence[Sequence[Any]]) -> dict[Any, list[tuple[Any, bool]]]:
    """Versions of each key, in order."""
    found: dict[Any, list[tuple[Any, bool]]] = defaultdict(list)
    for key, name, deleted in versions:
        found[key].append((name, bool(deleted)))
    return found


@contextmanager
def following(url: str, folder: Path, *, capture: dict[str, str], mirror: dict[str, str]) -> Iterator[Followed]:
    """Follow the shop of this URL, which gets the schema, with capture and mirror that have these settings beside the process's."""
    with psycopg.connect(url, autocommit=True) as shop:
        with shop.transaction():
            create_schema(shop)
        watch(shop)
    made = Followed(url, Follower("capture", folder / "capture.log", **capture), Follower("mirror", folder / "mirror.log", **mirror))
    try:
        for one in (made.capture, made.mirror):
            one.start()
        wait_until_mirrored()
        yield made
    finally:
        for one in (made.capture, made.mirror):
            if one.is_alive:
                one.signal(signal.SIGCONT)
                one.kill()
