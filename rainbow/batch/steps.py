"""The steps. Each works on a range of partitions, is safe to repeat, and raises a RainbowError when what comes after it must not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from time import perf_counter
from typing import TYPE_CHECKING, Any

from rainbow.batch.context import partitions_of, run_of, within
from rainbow.checks import Check, require
from rainbow.lake.extract import extract as extract_partitions
from rainbow.olap import publish as publishing
from rainbow.partitions.dates import PartitionRange, parse_partition
from rainbow.partitions.ledger import Ledger
from rainbow.source.tables import TABLES
from rainbow.warehouse import load as loading
from rainbow.warehouse import rebuild as rebuilding
from rainbow.warehouse import transform as transforming
from rainbow.warehouse.client import connect

if TYPE_CHECKING:
    import pandas as pd

Day = str | date | None


@dataclass(frozen=True)
class Step:
    """What a step did: a row an asset for ``table()``, the checks it made, and how long it took, in seconds."""

    name: str
    partitions: PartitionRange
    rows: tuple[dict[str, Any], ...]
    seconds: float
    checks: tuple[Check, ...] = field(default=())
    note: str = ""

    def table(self) -> pd.DataFrame:
        """What was made, a row an asset."""
        import pandas as pd

        return pd.DataFrame(list(self.rows))

    def check_table(self) -> pd.DataFrame:
        """The checks, those that failed first."""
        import pandas as pd

        ordered = sorted(self.checks, key=lambda check: check.passed)
        columns = ["asset", "check", "passed", "severity", "detail"]
        return pd.DataFrame([[c.asset, c.name, c.passed, c.severity, c.detail] for c in ordered], columns=columns)

    def __repr__(self) -> str:
        return f"{self.name} {self.partitions}: {self.note or 'done'} in {self.seconds:.2f} s"


def extract(partition_date: Day = None, partition_end: Day = None) -> Step:
    """Read the partitions from the source into the lake. See ``rainbow.lake.extract``."""
    partitions = partitions_of(partition_date, partition_end)
    began = perf_counter()
    with run_of(partitions) as run:
        manifest = extract_partitions(partitions)
        made = []
        for table in TABLES:
            files = [file for file in manifest.files if file.table == table.name]
            late = sum(file.rows for file in files if file.partition_date not in partitions)
            rows = sum(file.rows for file in files)
            made.append(
                {"table": table.name, "rows": rows, "of them late": late, "files": len(files), "bytes": sum(f.bytes for f in files)}
            )
            Ledger().record(run, f"lake/{table.name}", partitions, rows=rows, files=len(files), late=late)
        note = f"{manifest.rows:,} rows in {len(manifest.files)} files" if manifest.files else "nothing new, nothing written"
        return Step("extract", partitions, tuple(made), perf_counter() - began, note=note)


def load(partition_date: Day = None, partition_end: Day = None) -> Step:
    """Put what the lake has and ``raw`` lacks into BigQuery, and check that all of it arrived. Raises CheckError when not."""
    partitions = partitions_of(partition_date, partition_end)
    began = perf_counter()
    with run_of(partitions) as run:
        loaded = loading.load()
        touched = loaded.partitions
        checks = loading.check_loaded(touched)
        ledger = Ledger()
        for table in TABLES:
            ledger.record(run, f"raw/{table.name}", partitions, rows=loaded.rows.get(table.name, 0))
        ledger.record_checks(run, partitions.last, checks)
        require(checks)
        made = tuple({"table": t, "rows": n, "partitions": len(touched[t])} for t, n in loaded.rows.items())
        note = f"{sum(loaded.rows.values()):,} rows of {len(loaded.manifests)} extracts" if loaded.manifests else "nothing new"
        return Step("load", partitions, made, perf_counter() - began, tuple(checks), note)


def transform(partition_date: Day = None, partition_end: Day = None) -> Step:
    """Bring the star schema and the batch views to what ``raw`` holds."""
    partitions = partitions_of(partition_date, partition_end)
    began = perf_counter()
    with run_of(partitions) as run:
        done = transforming.transform()
        ledger = Ledger()
        for model, seconds in done.seconds.items():
            ledger.record(run, model, partitions, seconds=seconds)
        made = tuple({"model": model, "seconds": round(seconds, 3)} for model, seconds in done.seconds.items())
        note = f"{done.files} files worked in by {len(done.seconds)} models" if done.seconds else "nothing new"
        return Step("transform", partitions, made, perf_counter() - began, note=note)


def rebuild(models: Sequence[str], start: Day = None) -> list[Step]:
    """Make models of the warehouse anew from ``raw``, from the partition ``start`` on or all of them, and test and publish the result.

    Raises DataError for a model that cannot be made anew, CheckError when a test fails; nothing is published then.
    """
    names = rebuilding.named(models)
    first = None if start is None else parse_partition(start)
    partitions = partitions_of(None)
    with run_of(partitions) as run, within(run):
        rebuilding.request(connect(), names, first)
        return [step(partitions.first, partitions.last) for step in (transform, validate, publish)]


def validate(partition_date: Day = None, partition_end: Day = None) -> Step:
    """Run the tests of the warehouse. Raises CheckError when one of severity error fails."""
    partitions = partitions_of(partition_date, partition_end)
    began = perf_counter()
    with run_of(partitions) as run:
        checks = transforming.run_tests()
        Ledger().record_checks(run, partitions.last, checks)
        require(checks)
        return Step("validate", partitions, tuple(_by_asset(checks)), perf_counter() - began, tuple(checks), f"{len(checks)} checks passed")


def publish(partition_date: Day = None, partition_end: Day = None) -> Step:
    """Publish the batch views and the dimensions to ClickHouse, watermark included."""
    partitions = partitions_of(partition_date, partition_end)
    began = perf_counter()
    with run_of(partitions) as run:
        published = publishing.publish()
        ledger = Ledger()
        for table, rows in published.rows.items():
            ledger.record(run, f"olap/{table}", partitions, rows=rows)
        made = tuple({"table": t, "rows": n} for t, n in published.rows.items())
        mark = published.watermark
        state = f"{len(made)} tables" if made else "nothing new"
        return Step(
            "publish", partitions, made, perf_counter() - began, note=f"{state}, watermark {mark.first_partition} .. {mark.watermark_date}"
        )


def _by_asset(checks: Sequence[Check]) -> list[dict[str, Any]]:
    assets: dict[str, dict[str, Any]] = {}
    for check in checks:
        line = assets.setdefault(check.asset, {"asset": check.asset, "checks": 0, "passed": 0, "rows at fault": 0})
        line["checks"] += 1
        line["passed"] += check.passed
        line["rows at fault"] += check.failing
    return list(assets.values())
