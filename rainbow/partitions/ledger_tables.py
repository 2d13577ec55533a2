"""The ledger's tables, and the engine of the database that they are in."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from rainbow.errors import RainbowError, ServiceError
from rainbow.settings import settings

metadata = sa.MetaData()

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("what", sa.String, nullable=False),
    sa.Column("first", sa.Date, nullable=False),
    sa.Column("last", sa.Date, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("host", sa.String, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started_at", sa.DateTime, nullable=False),
    sa.Column("ended_at", sa.DateTime),
    sa.Column("error", sa.String),
    sa.Index("runs_by_start", "started_at"),
    sa.Index("runs_by_status", "status"),
)

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String, sa.ForeignKey("runs.run"), nullable=False),
    sa.Column("step", sa.String, nullable=False),
    sa.Column("first", sa.Date, nullable=False),
    sa.Column("last", sa.Date, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("started_at", sa.DateTime, nullable=False),
    sa.Column("ended_at", sa.DateTime),
    sa.Column("error", sa.String),
    sa.Index("steps_by_run", "run"),
    sa.Index("steps_by_status", "status", "last"),
)

materializations = sa.Table(
    "materializations",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.String, sa.ForeignKey("runs.run"), nullable=False),
    sa.Column("asset", sa.String, nullable=False),
    sa.Column("partition_date", sa.Date, nullable=False),
    sa.Column("made_at", sa.DateTime, nullable=False),
    sa.Column("code_version", sa.String, nullable=False),
    sa.Column("data_version", sa.String, nullable=False),
    sa.Column("inputs", sa.String, nullable=False),
    sa.Column("rows", sa.BigInteger),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("seconds", sa.Float),
    sa.Column("metadata", sa.String, nullable=False),
    sa.Index("materializations_by_asset", "asset", "partition_date"),
    sa.Index("materializations_by_run", "run"),
)

# the newest materialization of each asset and partition: what a plan and the grid of partitions read
newest = sa.Table(
    "newest",
    metadata,
    sa.Column("asset", sa.String, primary_key=True),
    sa.Column("partition_date", sa.Date, primary_key=True),
    sa.Column("run", sa.String, nullable=False),
    sa.Column("made_at", sa.DateTime, nullable=False),
    sa.Column("code_version", sa.String, nullable=False),
    sa.Column("data_version", sa.String, nullable=False),
    sa.Column("inputs", sa.String, nullable=False),
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
    sa.Column("checked_at", sa.DateTime, nullable=False),
    sa.Index("checks_by_run", "run"),
    sa.Index("checks_by_partition", "partition_date", "asset"),
    sa.Index("checks_by_outcome", "passed", "partition_date"),
)


_engines: dict[str, sa.Engine] = {}


def open_engine(url: str) -> sa.Engine:
    """The engine of the ledger at a URL, one a process, its tables made where they are not there.

    Raises RainbowError for a URL of another kind, ServiceError when the database does not answer.
    """
    if url not in _engines:
        if url.startswith("sqlite"):
            settings().home.mkdir(parents=True, exist_ok=True)
            engine = sa.create_engine(url, connect_args={"timeout": 30})
            event.listen(engine, "connect", _tune_sqlite)
        elif url.startswith("postgresql"):
            engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), pool_pre_ping=True)
        else:
            raise RainbowError("RAINBOW_LEDGER_URL is neither sqlite:///path nor postgresql://user:password@host:port/database")
        try:
            metadata.create_all(engine)
        except sa.exc.OperationalError as error:
            if url.startswith("sqlite"):
                raise
            raise ServiceError("the ledger's database does not answer: see RAINBOW_LEDGER_URL and `rainbow doctor`") from error
        _engines[url] = engine
    return _engines[url]


def _tune_sqlite(connection: Any, _record: Any) -> None:
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")
