"""The steps. Each works on a range of partitions, is safe to repeat, and raises a RainbowError when what comes after it must not run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from time import perf_counter
from typing import TYPE_CHECKING, Any

from rainbow.batch.context import ended_with, partitions_of, step_of_run, within
from rainbow.batch.materialize import settle
from rainbow.batch.row_counts import row_counts
from rainbow.checks import Check, require
from rainbow.lake.extract import extract as extract_partitions
from rainbow.lake.files import Lake
from rainbow.olap import publish as publishing
from rainbow.olap.fingerprint import Days
from rainbow.olap.published import OVER_ALL_DAYS, VIEWS
from rainbow.partitions.assets import made_by, of_model
from rainbow.partitions.dates import PartitionRange, parse_partition
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.state import Key
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
    with step_of_run("extract", partitions) as run:
        lake = Lake()
        manifest = extract_partitions(partitions, lake=lake)
        made: list[dict[str, Any]] = []
        for table in TABLES:
            files = [file for file in manifest.files if file.table == table.name]
            late = sum(file.rows for file in files if file.partition_date not in partitions)
            size = sum(f.bytes for f in files)
            made.append({"table": table.name, "rows": sum(f.rows for f in files), "of them late": late, "files": len(files), "bytes": size})
        details = {
            f"lake/{m['table']}": {"rows": m["rows"], "bytes": m["bytes"], "files": m["files"], "late rows": m["of them late"]}
            for m in made
        }
        checks = row_counts(partitions, {f"lake/{m['table']}": m["rows"] for m in made})
        touched = {(f.table, f.partition_date) for f in manifest.files} | {(t.name, day) for t in TABLES for day in partitions}
        settle(
            run,
            "extract",
            partitions,
            also={day for _, day in touched},
            content={(f"lake/{table}", day): lake.version(table, day) for table, day in touched},
            details=details,
            seconds=perf_counter() - began,
        )
        Ledger().record_checks(run, partitions.last, checks)
        note = f"{manifest.rows:,} rows in {len(manifest.files)} files" if manifest.files else "nothing new, nothing written"
        return Step("extract", partitions, tuple(made), perf_counter() - began, tuple(checks), note)


def load(partition_date: Day = None, partition_end: Day = None) -> Step:
    """Put what the lake has and ``raw`` lacks into BigQuery, and check that all of it arrived. Raises CheckError when not."""
    partitions = partitions_of(partition_date, partition_end)
    began = perf_counter()
    with step_of_run("load", partitions) as run:
        loaded = loading.load()
        touched = loaded.partitions
        checks = loading.check_loaded(touched)
        Ledger().record_checks(run, partitions.last, checks)
        require(checks)
        lake = Lake()
        # what an extract that was cut short had put into the lake and did not get to note
        files = {(f"lake/{table}", day): lake.version(table, day) for table, days in touched.items() for day in days}
        settle(run, "extract", None, also={day for _, day in files}, content=files)
        details = {f"raw/{table.name}": {"rows": loaded.rows.get(table.name, 0)} for table in TABLES}
        settle(run, "load", partitions, details=details, seconds=perf_counter() - began)
        made = tuple({"table": t, "rows": n, "partitions": len(touched[t])} for t, n in loaded.rows.items())
        note = f"{sum(loaded.rows.values()):,} rows of {len(loaded.manifests)} extracts" if loaded.manifests else "nothing new"
        return Step("load", partitions, made, perf_counter() - began, tuple(checks), note)


def transform(partition_date: Day = None, partition_end: Day = None) -> Step:
    """Bring the star schema and the batch views to what ``raw`` holds."""
    partitions = partitions_of(partition_date, partition_end)
    began = perf_counter()
    with step_of_run("transform", partitions) as run:
        done = transforming.transform()
        models = {one.name: one.name.rpartition("/")[2] for one in made_by("transform")}
        details = {name: {"rows": done.rows.get(model), "seconds": done.seconds.get(model)} for name, model in models.items()}
        settle(run, "transform", partitions, whole=True, details=details)
        made = tuple(
            {"model": model, "rows changed": done.rows.get(model), "seconds": round(taken, 3)} for model, taken in done.seconds.items()
        )
        note = f"{done.files} files worked in by {len(done.seconds)} models" if done.seconds else "nothing new"
        return Step("transform", partitions, made, perf_counter() - began, note=note)


def rebuild(models: Sequence[str], start: Day = None) -> list[Step]:
    """Make models of the warehouse anew from ``raw``, from the partition ``start`` on or all of them, and test and publish the result.

    Raises DataError for a model that cannot be made anew, CheckError when a test fails; nothing is published then.
    """
    names = rebuilding.named(models)
    first = None if start is None else parse_partition(start)
    partitions = partitions_of(None)
    ledger = Ledger()
    what = f"rebuild of {', '.join(names)}"
    with ledger.one_at_a_time(what), ended_with(ledger.begin(partitions, what)) as run, within(run):
        rebuilding.request(connect(), names, first)
        return [step(partitions.first, partitions.last) for step in (transform, validate, publish)]


def validate(partition_date: Day = None, partition_end: Day = None) -> Step:
    """Run the tests of the warehouse. Raises CheckError when one of severity error fails."""
    partitions = partitions_of(partition_date, partition_end)
    began = perf_counter()
    with step_of_run("validate", partitions) as run:
        found = transforming.run_tests()
        tested = {model: of_model(model) for model in {check.asset for check in found}}
        checks = [replace(check, asset=tested[check.asset]) for check in found]
        Ledger().record_checks(run, partitions.last, checks)
        require(checks)
        return Step("validate", partitions, tuple(_by_asset(checks)), perf_counter() - began, tuple(checks), f"{len(checks)} checks passed")


def publish(partition_date: Day = None, partition_end: Day = None) -> Step:
    """Publish the batch views and the dimensions to ClickHouse, watermark included."""
    partitions = partitions_of(partition_date, partition_end)
    began = perf_counter()
    with step_of_run("publish", partitions) as run:
        published = publishing.publish()
        content, changed = _published_content(partitions, published.content)
        details = {f"olap/{table}": {"rows": rows} for table, rows in published.rows.items()}
        settle(run, "publish", partitions, also=changed, whole=True, content=content, details=details, seconds=perf_counter() - began)
        made = tuple({"table": t, "rows": n} for t, n in published.rows.items())
        mark = published.watermark
        state = f"{len(made)} tables" if made else "nothing new"
        return Step(
            "publish", partitions, made, perf_counter() - began, note=f"{state}, watermark {mark.first_partition} .. {mark.watermark_date}"
        )


def _published_content(partitions: PartitionRange, found: Mapping[str, Days]) -> tuple[dict[Key, str], set[date]]:
    """The data versions of what was published, and the partitions whose version is another than the ledger has.

    The version of a view's day tells its figures: a member that is called otherwise since then makes no day another.
    """
    by_day = [view for view in VIEWS if view not in OVER_ALL_DAYS]
    known = Ledger().newest(assets=[f"olap/{view}" for view in by_day])
    content: dict[Key, str] = {}
    for table, days in found.items():
        name = f"olap/{table}"
        if table in by_day:
            for day in {*partitions, *(d for n, d in known if n == name)}:
                rows, _, figures = days.get(day, (0, 0, 0))
                content[name, day] = f"{rows}-{figures}"
        else:
            digest = hashlib.sha256(repr(sorted(days.items())).encode()).hexdigest()[:16]
            content |= {(name, day): digest for day in partitions}
    return content, {key[1] for key, newest in known.items() if content[key] != newest.data_version}


def _by_asset(checks: Sequence[Check]) -> list[dict[str, Any]]:
    assets: dict[str, dict[str, Any]] = {}
    for check in checks:
        line = assets.setdefault(check.asset, {"asset": check.asset, "checks": 0, "passed": 0, "rows at fault": 0})
        line["checks"] += 1
        line["passed"] += check.passed
        line["rows at fault"] += check.failing
    return list(assets.values())
