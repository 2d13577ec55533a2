"""The ledger: which run made which asset for which partition, with rows, seconds and checks.

A SQLite file under RAINBOW_HOME that several processes may use at once. It holds no data of the shop and no secrets.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from rainbow.checks import Check
from rainbow.partitions.dates import PartitionRange
from rainbow.settings import settings

metadata = sa.MetaData()

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("first", sa.Date, nullable=False),
    sa.Column("last", sa.Date, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started_at", sa.DateTime, nullable=False),
    sa.Column("ended_at", sa.DateTime),
    sa.Column("error", sa.String),
)

materializations = sa.Table(
    "materializations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String, sa.ForeignKey("runs.run"), nullable=False),
    sa.Column("asset", sa.String, nullable=False),
    sa.Column("partition_date", sa.Date, nullable=False),
    sa.Column("rows", sa.BigInteger),
    sa.Column("seconds", sa.Float),
    sa.Column("made_at", sa.DateTime, nullable=False),
    sa.Column("metadata", sa.String, nullable=False),
    sa.Index("materializations_by_partition", "partition_date", "asset"),
)

checks = sa.Table(
    "checks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String, sa.ForeignKey("runs.run"), nullable=False),
    sa.Column("partition_date", sa.Date, nullable=False),
    sa.Column("asset", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("severity", sa.String, nullable=False),
    sa.Column("passed", sa.Boolean, nullable=False),
    sa.Column("failing", sa.Integer, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
    sa.Column("sample", sa.String, nullable=False),
    sa.Index("checks_by_partition", "partition_date"),
)


@dataclass(frozen=True)
class PartitionState:
    """What the ledger knows of a partition's newest run."""

    partition_date: date
    run: str
    status: str
    started_at: datetime
    ended_at: datetime | None
    error: str | None
    partial: bool


class Ledger:
    """Reads and writes the ledger. Instances are cheap after the first of a process."""

    def __init__(self, url: str | None = None) -> None:
        settings().home.mkdir(parents=True, exist_ok=True)
        self.engine = _engine(url or f"sqlite:///{settings().home / 'ledger.sqlite'}")

    def begin(self, partitions: PartitionRange) -> str:
        """Note that a run of these partitions has begun; returns its name. Runs whose process is gone are marked interrupted."""
        run = uuid.uuid4().hex[:12]
        with self.engine.begin() as connection:
            self._mark_interrupted(connection)
            connection.execute(
                runs.insert().values(
                    run=run, first=partitions.first, last=partitions.last, status="running", pid=os.getpid(), started_at=_now()
                )
            )
        return run

    def end(self, run: str, error: str | None = None) -> None:
        """Note how a run ended."""
        with self.engine.begin() as connection:
            connection.execute(
                runs.update().where(runs.c.run == run).values(status="failed" if error else "done", ended_at=_now(), error=error)
            )

    def record(
        self, run: str, asset: str, partitions: Iterable[date], *, rows: int | None = None, seconds: float | None = None, **details: Any
    ) -> None:
        """Note that a run made an asset for these partitions."""
        noted = [
            {
                "run": run,
                "asset": asset,
                "partition_date": day,
                "rows": rows,
                "seconds": seconds,
                "made_at": _now(),
                "metadata": json.dumps(details, default=str),
            }
            for day in partitions
        ]
        with self.engine.begin() as connection:
            connection.execute(materializations.insert(), noted)

    def record_checks(self, run: str, partition_date: date, found: Sequence[Check]) -> None:
        """Note the outcome of checks."""
        if not found:
            return
        noted = [
            {
                "run": run,
                "partition_date": partition_date,
                "asset": check.asset,
                "name": check.name,
                "severity": check.severity,
                "passed": check.passed,
                "failing": check.failing,
                "detail": check.detail,
                "sample": json.dumps(check.sample, default=str),
            }
            for check in found
        ]
        with self.engine.begin() as connection:
            connection.execute(checks.insert(), noted)

    def states(self, partitions: PartitionRange | None = None) -> dict[date, PartitionState]:
        """The newest run of each partition; a day that no run has had is left out."""
        query = sa.select(runs).order_by(runs.c.started_at)
        if partitions is not None:
            query = query.where(runs.c.first <= partitions.last, runs.c.last >= partitions.first)
        found: dict[date, PartitionState] = {}
        with self.engine.begin() as connection:
            self._mark_interrupted(connection)
            for row in connection.execute(query).all():
                for day in PartitionRange(row.first, row.last):
                    if partitions is None or day in partitions:
                        partial = row.started_at.replace(tzinfo=UTC) < PartitionRange(day, day).end
                        found[day] = PartitionState(day, row.run, row.status, row.started_at, row.ended_at, row.error, partial)
        return found

    def made(self, run: str) -> list[dict[str, Any]]:
        """What a run made: asset, partition, rows, seconds."""
        with self.engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(sa.select(materializations).where(materializations.c.run == run))]

    def checks_of(self, run: str) -> list[Check]:
        """The checks of a run."""
        with self.engine.connect() as connection:
            found = connection.execute(sa.select(checks).where(checks.c.run == run).order_by(checks.c.id))
            return [Check(r.name, r.asset, r.passed, r.detail, r.severity, r.failing, tuple(json.loads(r.sample))) for r in found]

    def _mark_interrupted(self, connection: sa.Connection) -> None:
        import psutil

        running = connection.execute(sa.select(runs.c.run, runs.c.pid, runs.c.started_at).where(runs.c.status == "running")).all()
        for run, pid, started in running:
            try:
                alive = psutil.Process(pid).create_time() <= _timestamp(started) + 1
            except psutil.NoSuchProcess:
                alive = False
            if not alive:
                connection.execute(
                    runs.update().where(runs.c.run == run).values(status="interrupted", ended_at=_now(), error="its process ended")
                )


def _timestamp(moment: Any) -> float:
    """Seconds since 1970 of a moment that is kept as UTC without zone."""
    return float(moment.replace(tzinfo=UTC).timestamp())


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


_engines: dict[str, sa.Engine] = {}


def _engine(url: str) -> sa.Engine:
    if url not in _engines:
        engine = sa.create_engine(url, connect_args={"timeout": 30} if url.startswith("sqlite") else {})
        if url.startswith("sqlite"):
            event.listen(engine, "connect", _tune_sqlite)
        metadata.create_all(engine)
        _engines[url] = engine
    return _engines[url]


def _tune_sqlite(connection: Any, _record: Any) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Hold the lock of batch runs of this RAINBOW_HOME. Raises RainbowError when another process holds it."""
    import fcntl

    from rainbow.errors import RainbowError

    settings().home.mkdir(parents=True, exist_ok=True)
    with (settings().home / "batch.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise RainbowError(
                f"another run is under way ({lock.read().strip() or 'unknown'}): wait for it, or stop it, then run again"
            ) from None
        lock.truncate(0)
        lock.write(f"{what}, process {os.getpid()}")
        lock.flush()
        yield
