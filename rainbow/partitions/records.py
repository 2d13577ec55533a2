"""What the ledger has of runs, their steps and what they made; times are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import orjson

from rainbow.partitions.dates import PartitionRange


@dataclass(frozen=True)
class Run:
    """A run. ``status`` is running, done, failed or interrupted."""

    run: str
    what: str
    partitions: PartitionRange
    status: str
    started_at: datetime
    ended_at: datetime | None
    error: str | None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return (self.ended_at - self.started_at).total_seconds() if self.ended_at else None

    @classmethod
    def of(cls, row: Any) -> Run:
        """A run of its row."""
        partitions = PartitionRange(row.first, row.last)
        return cls(row.run, row.what, partitions, row.status, _utc(row.started_at), _utc(row.ended_at), row.error)


@dataclass(frozen=True)
class StepRun:
    """A step of a run; ``status`` as a run's."""

    run: str
    step: str
    partitions: PartitionRange
    status: str
    started_at: datetime
    ended_at: datetime | None
    error: str | None

    @classmethod
    def of(cls, row: Any) -> StepRun:
        """A step of its row."""
        partitions = PartitionRange(row.first, row.last)
        return cls(row.run, row.step, partitions, row.status, _utc(row.started_at), _utc(row.ended_at), row.error)


@dataclass(frozen=True)
class Made:
    """What a run made for one partition of an asset. ``inputs`` are the data versions that it was made from, by asset."""

    asset: str
    partition_date: date
    code_version: str
    data_version: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    rows: int | None = None
    bytes: int | None = None
    seconds: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    made_at: datetime | None = None

    @classmethod
    def of(cls, row: Any) -> Made:
        """A materialization of its row."""
        return cls(
            row.asset,
            row.partition_date,
            row.code_version,
            row.data_version,
            orjson.loads(row.inputs),
            row.rows,
            row.bytes,
            row.seconds,
            orjson.loads(row.metadata),
            row.run,
            _utc(row.made_at),
        )


class Newest(NamedTuple):
    """The newest materialization of an asset for a partition; a tuple, since there is one for each asset and day of the years.

    ``made`` is when, UTC without zone, as the ledger keeps it.
    """

    asset: str
    partition_date: date
    run: str
    made: datetime
    code_version: str
    data_version: str
    inputs: Mapping[str, str]

    @property
    def made_at(self) -> datetime:
        """When it was made."""
        return self.made.replace(tzinfo=UTC)


def _utc(moment: Any) -> Any:
    """A moment of the ledger, which keeps UTC without zone."""
    return moment.replace(tzinfo=UTC) if moment else None
