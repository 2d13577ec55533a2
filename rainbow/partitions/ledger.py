"""The ledger: which run made which asset for which partition, by which code and from which data, and what the checks found.

A SQLite file under RAINBOW_HOME, or a PostgreSQL database that a setting names; several processes may use it at once. It holds
no data of the shop but the rows that show why a check failed, and no secrets. A run holds a lock for as long as it lives, so one
whose process is gone is known by its lock being free, and is marked interrupted by whoever looks next.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import sqlalchemy as sa

from rainbow.checks import Check
from rainbow.errors import ServiceError
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger_tables import checks, materializations, newest, open_engine, runs, steps
from rainbow.partitions.locks import FileLocks, Held, Locks, PostgresLocks, holding
from rainbow.partitions.records import Made, Newest, Run, StepRun
from rainbow.settings import settings


class Ledger:
    """Reads and writes the ledger. Instances are cheap after the first of a process."""

    def __init__(self, url: str | None = None) -> None:
        self.url = url or settings().ledger
        self.engine = open_engine(self.url)
        self.locks: Locks = FileLocks(settings().home / "locks") if self.engine.dialect.name == "sqlite" else PostgresLocks(self.engine)

    # runs

    def begin(self, partitions: PartitionRange, what: str) -> str:
        """Note that a run of these partitions has begun; returns its name. It is alive until ``end``, or until this process ends."""
        run = uuid.uuid4().hex[:12]
        held = self.locks.take(f"run {run}", f"{what}, process {os.getpid()}")
        assert held is not None
        _alive[run] = held
        with self.engine.begin() as connection:
            connection.execute(
                runs.insert().values(
                    run=run,
                    what=what,
                    first=partitions.first,
                    last=partitions.last,
                    status="running",
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    started_at=_now(),
                )
            )
        return run

    def end(self, run: str, error: str | None = None, *, status: str | None = None) -> None:
        """Note how a run ended: done, or failed with an error; ``status`` says otherwise."""
        with self.engine.begin() as connection:
            connection.execute(
                runs.update()
                .where(runs.c.run == run)
                .values(status=status or ("failed" if error else "done"), ended_at=_now(), error=error)
            )
        held = _alive.pop(run, None)
        if held:
            held.let_go()

    @contextmanager
    def step(self, run: str, step: str, partitions: PartitionRange) -> Iterator[None]:
        """A step of a run, whose beginning and end are noted."""
        values = {"run": run, "step": step, "first": partitions.first, "last": partitions.last}
        with self.engine.begin() as connection:
            added = connection.execute(steps.insert().values(**values, status="running", started_at=_now()))
            number = added.inserted_primary_key[0]
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
            raise
        finally:
            text = None if error is None else one_line(error)
            status = "done" if error is None else "failed" if isinstance(error, Exception) else "interrupted"
            with self.engine.begin() as connection:
                connection.execute(steps.update().where(steps.c.id == number).values(status=status, ended_at=_now(), error=text))

    def runs(self, limit: int = 20, *, partition: date | None = None) -> list[Run]:
        """The newest runs, of one partition if it is given, newest first."""
        query = sa.select(runs).order_by(runs.c.started_at.desc()).limit(limit)
        if partition:
            query = query.where(runs.c.first <= partition, runs.c.last >= partition)
        return [Run.of(row) for row in self._read(query)]

    def run(self, run: str) -> Run | None:
        """A run by its name."""
        return next((Run.of(row) for row in self._read(sa.select(runs).where(runs.c.run == run))), None)

    def newest_runs(self, partitions: PartitionRange | None = None) -> dict[date, Run]:
        """The newest run of each partition; a day that no run has had is left out."""
        query = sa.select(runs).order_by(runs.c.started_at)
        if partitions is not None:
            query = query.where(runs.c.first <= partitions.last, runs.c.last >= partitions.first)
        found: dict[date, Run] = {}
        for run in map(Run.of, self._read(query)):
            found |= {day: run for day in run.partitions if partitions is None or day in partitions}
        return found

    def steps(self, *, run: str | None = None, not_done: bool = False, partitions: PartitionRange | None = None) -> list[StepRun]:
        """Steps in the order in which they began: of one run, or those that are not done; of these partitions."""
        query = sa.select(steps).order_by(steps.c.id)
        if run is not None:
            query = query.where(steps.c.run == run)
        if not_done:
            query = query.where(steps.c.status != "done")
        if partitions is not None:
            query = query.where(steps.c.first <= partitions.last, steps.c.last >= partitions.first)
        return [StepRun.of(row) for row in self._read(query)]

    # materializations

    def record(self, run: str, made: Sequence[Made]) -> None:
        """Note what a run made."""
        if not made:
            return
        now = _now()
        versions = [
            {
                "run": run,
                "asset": one.asset,
                "partition_date": one.partition_date,
                "made_at": now,
                "code_version": one.code_version,
                "data_version": one.data_version,
                "inputs": orjson.dumps(one.inputs).decode(),
            }
            for one in made
        ]
        details = [
            {
                "rows": one.rows,
                "bytes": one.bytes,
                "seconds": one.seconds,
                "metadata": orjson.dumps(one.metadata, default=str).decode(),
            }
            for one in made
        ]
        with self.engine.begin() as connection:
            connection.execute(materializations.insert(), [v | d for v, d in zip(versions, details, strict=True)])
            upsert = self._insert(newest)
            fresh = {c.name: upsert.excluded[c.name] for c in newest.columns if not c.primary_key}
            connection.execute(upsert.on_conflict_do_update(index_elements=["asset", "partition_date"], set_=fresh), versions)

    def newest(self, partitions: PartitionRange | None = None, assets: Iterable[str] | None = None) -> dict[tuple[str, date], Newest]:
        """The newest materialization of each asset and partition, of all or of these."""
        query = sa.select(newest)
        if partitions is not None:
            query = query.where(newest.c.partition_date >= partitions.first, newest.c.partition_date <= partitions.last)
        if assets is not None:
            query = query.where(newest.c.asset.in_(list(assets)))
        with self._answering(), self.engine.connect() as connection:
            found = connection.execute(query).all()
        return {(row[0], row[1]): Newest(row[0], row[1], row[2], row[3], row[4], row[5], orjson.loads(row[6])) for row in found}

    def behind(self, assets: Sequence[str], sources: Iterable[str]) -> list[date]:
        """Partitions of which one of the assets was not made since one of the sources was, or never."""
        day = newest.c.partition_date
        made = sa.select(day, sa.func.max(newest.c.made_at)).where(newest.c.asset.in_(list(sources))).group_by(day)
        since = sa.select(day, sa.func.min(newest.c.made_at), sa.func.count()).where(newest.c.asset.in_(list(assets))).group_by(day)
        there = {day: (first, count) for day, first, count in self._read(since)}
        never = (datetime.min, 0)
        return [day for day, last in self._read(made) if there.get(day, never)[0] < last or there[day][1] < len(assets)]

    def made_by_other_code(self, code_versions: Mapping[str, str]) -> list[date]:
        """Partitions of which an asset was made by another code than the one given for it."""
        other = newest.c.code_version != sa.case(code_versions, value=newest.c.asset, else_="")
        return list(
            self._read(sa.select(newest.c.partition_date).where(newest.c.asset.in_(list(code_versions)), other).distinct(), scalars=True)
        )

    def days(self) -> list[date]:
        """The partitions that any asset was ever made for, in order."""
        return list(self._read(sa.select(newest.c.partition_date).distinct().order_by(newest.c.partition_date), scalars=True))

    def history(self, asset: str, limit: int = 10, *, partition: date | None = None) -> list[Made]:
        """The newest materializations of an asset, newest first."""
        query = sa.select(materializations).where(materializations.c.asset == asset)
        if partition:
            query = query.where(materializations.c.partition_date == partition)
        return [Made.of(row) for row in self._read(query.order_by(materializations.c.id.desc()).limit(limit))]

    def made(self, run: str) -> list[Made]:
        """What a run made."""
        query = sa.select(materializations).where(materializations.c.run == run).order_by(materializations.c.id)
        return [Made.of(row) for row in self._read(query)]

    def row_counts(self, assets: Iterable[str], before: date, days: int) -> dict[str, list[int]]:
        """Rows of each asset's newest materializations in the days before a partition, by asset; days that were not run are left out."""
        latest = (
            sa.select(sa.func.max(materializations.c.id))
            .where(
                materializations.c.asset.in_(list(assets)),
                materializations.c.partition_date < before,
                materializations.c.partition_date >= before - timedelta(days=days),
                materializations.c.rows.is_not(None),
            )
            .group_by(materializations.c.asset, materializations.c.partition_date)
        )
        query = sa.select(materializations.c.asset, materializations.c.rows).where(materializations.c.id.in_(latest))
        found: dict[str, list[int]] = {}
        for name, count in self._read(query):
            found.setdefault(name, []).append(count)
        return found

    def totals(self, of: Iterable[str]) -> dict[str, tuple[int, int, int, int]]:
        """Rows extracted, checks passed, checks failed and warnings, by run."""
        chosen = sorted(set(of))
        made, looked = materializations.c, checks.c
        kinds = (looked.passed, sa.and_(~looked.passed, looked.severity == "error"), sa.and_(~looked.passed, looked.severity != "error"))
        counts = [sa.func.sum(sa.case((kind, 1), else_=0)) for kind in kinds]
        found: dict[str, tuple[int, int, int, int]] = {}
        for some in (chosen[n : n + 500] for n in range(0, len(chosen), 500)):
            lake = sa.select(made.run, sa.func.sum(made.rows)).where(made.run.in_(some), made.asset.like("lake/%")).group_by(made.run)
            rows = {run: int(count or 0) for run, count in self._read(lake)}
            counted = sa.select(looked.run, *counts).where(looked.run.in_(some)).group_by(looked.run)
            kept = {run: (int(passed), int(failed), int(warned)) for run, passed, failed, warned in self._read(counted)}
            found |= {run: (rows.get(run, 0), *kept.get(run, (0, 0, 0))) for run in some}
        return found

    # checks

    def record_checks(self, run: str, partition_date: date, found: Sequence[Check]) -> None:
        """Note the outcome of checks."""
        if not found:
            return
        now = _now()
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
                "sample": orjson.dumps(list(check.sample), default=str).decode(),
                "checked_at": now,
            }
            for check in found
        ]
        with self.engine.begin() as connection:
            connection.execute(checks.insert(), noted)

    def checks_of(self, run: str) -> list[Check]:
        """The checks of a run."""
        return [_check(r) for r in self._read(sa.select(checks).where(checks.c.run == run).order_by(checks.c.id))]

    def failed_checks(self, partitions: PartitionRange | None = None) -> dict[tuple[str, date], list[Check]]:
        """The checks that have failed, by asset and partition, of the newest run that checked the asset there.

        A check that this run did not make any more is none of the project's any more.
        """
        later = checks.alias()
        newer = sa.exists().where(
            later.c.partition_date == checks.c.partition_date,
            later.c.asset == checks.c.asset,
            later.c.id > checks.c.id,
            sa.or_(later.c.run != checks.c.run, later.c.name == checks.c.name),
        )
        query = sa.select(checks).where(checks.c.passed.is_(False), ~newer).order_by(checks.c.id)
        if partitions is not None:
            query = query.where(checks.c.partition_date >= partitions.first, checks.c.partition_date <= partitions.last)
        found: dict[tuple[str, date], list[Check]] = {}
        for row in self._read(query):
            found.setdefault((row.asset, row.partition_date), []).append(_check(row))
        return found

    # what lies beneath

    @contextmanager
    def one_at_a_time(self, what: str) -> Iterator[None]:
        """Hold the lock of batch runs. Raises RainbowError when another run holds it."""
        with holding(self.locks, "batch", f"{what}, process {os.getpid()}"):
            yield

    def mark_interrupted(self) -> None:
        """Mark the runs whose process is gone, and their steps, as interrupted."""
        with self._answering(), self.engine.connect() as connection:
            running = connection.execute(sa.select(runs.c.run).where(runs.c.status == "running")).scalars().all()
        gone = [run for run in running if run not in _alive and self.locks.owner(f"run {run}") is None]
        if gone:
            values = {"status": "interrupted", "ended_at": _now(), "error": "its process ended"}
            with self.engine.begin() as connection:
                for table in (runs, steps):
                    connection.execute(table.update().where(table.c.run.in_(gone), table.c.status == "running").values(**values))

    def _read(self, query: sa.Select[Any], *, scalars: bool = False) -> Sequence[Any]:
        self.mark_interrupted()
        with self._answering(), self.engine.connect() as connection:
            answer = connection.execute(query)
            return answer.scalars().all() if scalars else answer.all()

    def _insert(self, table: sa.Table) -> Any:
        if self.engine.dialect.name == "sqlite":
            from sqlalchemy.dialects.sqlite import insert as sqlite_insert

            return sqlite_insert(table)
        from sqlalchemy.dialects.postgresql import insert as postgres_insert

        return postgres_insert(table)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.OperationalError as error:
            if self.engine.dialect.name == "sqlite":
                raise
            raise ServiceError("the ledger's database does not answer: see RAINBOW_LEDGER_URL and `rainbow doctor`") from error


def one_line(error: BaseException) -> str:
    """An error's text in one line; its type's name when it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


# the locks of this process's runs
_alive: dict[str, Held] = {}


def _check(row: Any) -> Check:
    return Check(row.name, row.asset, row.passed, row.detail, row.severity, row.failing, tuple(orjson.loads(row.sample)))


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
