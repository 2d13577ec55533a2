"""A story of changes told by hand-written events, seeded; and what a mirror must hold after it, worked out beside it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from rainbow.errors import ServiceError
from rainbow.settings import PROJECT_ROOT
from rainbow.stack.process import wait_until_ended
from rainbow.stack.streaming import KEEPER
from streaming import topics
from streaming.progress import Offsets, dead_letters
from tests.integration.change_events import Event, Row, event, row, tombstone, truncation

KEYS = 40
TABLES = ("brands", "orders")


class Story:
    """Events of two tables, and their rows and versions so far: table -> key -> row, and (table, key, position) -> (name or payment, deleted)."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._lsn = 1000
        self._truncations: set[int] = set()
        self.rows: dict[str, dict[int, Row]] = {table: {} for table in TABLES}
        self.versions: dict[tuple[str, int, int], tuple[Any, bool]] = {}

    def go_on(self, count: int) -> list[Event]:
        """Some hundred events more."""
        return [told for _ in range(count) for told in self._next()]

    def _next(self) -> Iterator[Event]:
        table = self._chance.choice(TABLES)
        column = COLUMN[table]
        rows = self.rows[table]
        key = self._chance.randrange(KEYS)
        self._lsn += self._chance.randrange(1, 50) * 8
        before = rows.get(key)
        value = str(self._lsn) if table == "brands" else self._lsn
        if self._chance.random() < 0.003:
            for gone in rows:
                self.versions[table, gone, self._lsn] = rows[gone][column], True
            rows.clear()
            self._truncations.add(self._lsn)
            yield from truncation(table, self._lsn)
        elif before is None:
            rows[key] = row(table, key, **{column: value})
            self.versions[table, key, self._lsn] = value, False
            yield event(table, "c", self._lsn, after=rows[key])
        elif self._chance.random() < 0.2:
            del rows[key]
            self.versions[table, key, self._lsn] = before[column], True
            yield event(table, "d", self._lsn, before=before)
            yield tombstone(table, {"id": key})
        else:
            rows[key] = {**before, column: value}
            self.versions[table, key, self._lsn] = value, False
            yield event(table, "u", self._lsn, before=before, after=rows[key])

    def check(self, client: Any) -> None:
        """Hold every row and every version that ClickHouse has against the story."""
        for table in TABLES:
            column = COLUMN[table]
            now = client.query(f"select id, {column} from mirror.{table} final order by id").result_rows
            assert now == [(key, self.rows[table][key][column]) for key in sorted(self.rows[table])], table
            history = client.query(f"select id, _lsn, {column}, _deleted from mirror.{table}_history final").result_rows
            told = {(key, lsn): seen for (name, key, lsn), seen in self.versions.items() if name == table}
            found = {(key, lsn): bool(deleted) for key, lsn, _, deleted in history}
            assert len(found) == len(history)
            # a truncate reads ahead of other partitions: it may meet an older value of a row, or a row whose delete is still on its way
            assert all(deleted and lsn in self._truncations for (key, lsn), deleted in found.items() if (key, lsn) not in told)
            assert {version: found.get(version) for version in told} == {version: deleted for version, (_, deleted) in told.items()}
            assert {(key, lsn): value for key, lsn, value, deleted in history if not deleted} == {
                version: value for version, (value, deleted) in told.items() if not deleted
            }


COLUMN = {"brands": "name", "orders": "payment_id"}


class Process:
    """``rainbow stream mirror``, or another of its commands, as the stack runs it: kept by a keeper, which starts it again after a crash."""

    def __init__(self, command: str = "mirror") -> None:
        self._command = command
        self._keeper: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._keeper = self._launch()

    def _launch(self, **options: Any) -> subprocess.Popen[bytes]:
        command = [*KEEPER, sys.executable, "-c", "from rainbow.cli import main; main()", "stream", self._command]
        return subprocess.Popen(command, cwd=PROJECT_ROOT, **options)

    @property
    def pid(self) -> int:
        """The process that does the work."""
        return self._worker().pid

    def _worker(self) -> psutil.Process:
        assert self._keeper
        while True:
            if workers := psutil.Process(self._keeper.pid).children():
                return workers[0]
            assert self.is_alive
            time.sleep(0.01)

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        assert self._keeper
        worker = self._worker()
        self._keeper.kill()
        self._keeper.wait()
        worker.kill()
        assert not wait_until_ended([worker], 10)

    def end(self) -> int:
        """Ask it to end; its exit code."""
        assert self._keeper
        self._keeper.terminate()
        return self._keeper.wait(30)

    @property
    def is_alive(self) -> bool:
        return self._keeper is not None and self._keeper.poll() is None


@contextmanager
def processes(count: int = 1, *others: str) -> Iterator[list[Process]]:
    """Mirrors, each a process, and other commands; whatever is left of them at the end is killed."""
    started = [*(Process() for _ in range(count)), *map(Process, others)]
    try:
        for one in started:
            one.start()
        yield started
    finally:
        for one in started:
            if one.is_alive:
                one.signal(signal.SIGCONT)
                one.kill()


def wait_until_read(seconds: float = 60) -> None:
    """Wait until the group has committed all that is in the tables' topics now; a broker that has just come back may not answer at once."""
    deadline = time.monotonic() + seconds
    offsets, target, behind = Offsets(), None, {}
    while target is None or behind:
        try:
            target = offsets.ends() if target is None else target
            behind = offsets.behind(target)
        except ServiceError as error:
            if "does not answer" not in str(error) or time.monotonic() > deadline:
                raise
            offsets = Offsets()
            continue
        assert not behind or time.monotonic() < deadline, behind
        time.sleep(0.02 if behind else 0)


def letters() -> list[dict[str, Any]]:
    """All dead letters."""
    end = Offsets().ends([topics.DEAD_LETTERS]).get((topics.DEAD_LETTERS, 0), 0)
    return list(dead_letters(0, end))
