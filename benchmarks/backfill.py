"""Backfill of the synthetic shop at the original's size: seconds by step, and peak memory, for both modes.

    python benchmarks/backfill.py [--scale 1.0] [--days 37]

The shop lives through its days; each day's partition is run (``per-partition``). Then, in a process of its own, the whole range is
extracted into a fresh lake in one go, and a fresh warehouse built from the days' lake, which alone has every version of the
products, in one run (``single-run``). Beside them stands a limit measured in the same run: COPY of all tables to nowhere. Seeding,
replaying and dbt's first run, which makes the empty tables, are not counted. Everything lives in a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from rainbow.partitions.dates import PartitionRange

# five steps, six dashboards
NOTEBOOKS = 11


class Memory:
    """Peak resident memory, in MB: of this process and of each service, sampled every 50 ms."""

    def __init__(self) -> None:
        self.peak: dict[str, float] = defaultdict(float)
        self._stop = threading.Event()
        self._names: dict[int, str] = {}

    def __enter__(self) -> Memory:
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        home = os.environ["RAINBOW_HOME"]
        while not self._stop.wait(0.05):
            totals: dict[str, float] = defaultdict(float)
            for process in psutil.process_iter(["pid", "memory_info", "cmdline"]):
                line = " ".join(process.info["cmdline"] or ())
                name = "pipeline" if "--single" in line else None
                if home in line and "rainbow.stack" in line:
                    name = "bigquery" if "bigquery" in line else "clickhouse"
                if name and process.info["memory_info"]:
                    totals[name] += process.info["memory_info"].rss / 1e6
            for name, value in totals.items():
                self.peak[name] = max(self.peak[name], value)


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] += time.perf_counter() - began


class Steps:
    """Who is told how a run goes on: seconds by step."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds

    def begin(self, partitions: object) -> None:
        self.last = time.perf_counter()

    def step(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] += now - self.last
        self.last = now

    def end(self, result: object) -> None:
        self.step("the run's end")


def run(days: PartitionRange, seconds: dict[str, float]) -> float:
    """What `rainbow backfill` does for these days: plan, run, and the catalogue page; returns its seconds."""
    from rainbow.partitions.plan import look_for_late_rows, make_plan
    from rainbow.runs.backfill import backfill
    from rainbow.runs.catalogue import write_catalogue

    began = time.perf_counter()
    with timed(seconds, "plan"):
        late, _ = look_for_late_rows()
        plan = make_plan(days, late=late)
    mode = "per-partition" if len(days) == 1 else "single-run"
    for result in backfill(plan, replan=make_plan, mode=mode, progress=Steps(seconds)):
        if result.error:
            raise result.error
    with timed(seconds, "catalogue"):
        write_catalogue()
    return time.perf_counter() - began


def noted(day: date) -> tuple[float, float]:
    """What the ledger has of a day's newest run: seconds of the dimensions, and of all steps."""
    from rainbow.partitions.ledger import Ledger

    ledger = Ledger()
    newest = ledger.runs(1, partition=day)[0]
    dimensions = sum(made.seconds or 0 for made in ledger.made(newest.run) if made.asset.startswith("dim_"))
    steps = sum((step.ended_at - step.started_at).total_seconds() for step in ledger.steps(run=newest.run) if step.ended_at)
    return dimensions, steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the original's size")
    parser.add_argument("--days", type=int, default=37)
    parser.add_argument("--single", nargs=2, metavar=("FIRST", "LAST"), help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help="use this folder and leave it there")
    arguments = parser.parse_args()
    home = arguments.keep or Path(tempfile.mkdtemp(prefix="rainbow-benchmark-"))
    os.environ |= {
        "RAINBOW_HOME": str(home),
        "RAINBOW_REPORTS_DIR": str(home / "reports"),
        "RAINBOW_CURRENCY": "VND",
        "PLOOMBER_STATS_ENABLED": "false",
    }
    from rainbow import stack
    from rainbow.settings import settings

    if arguments.single:
        print(json.dumps(single_run(home, *arguments.single)))
        sys.stdout.flush()
        os._exit(0)
    stack.up()
    try:
        measured = measure(arguments.scale, arguments.days, home)
    finally:
        stack.down()
        if not arguments.keep:
            shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(measured, indent=1, default=str))
    settings.cache_clear()
    sys.stdout.flush()
    os._exit(0)


def measure(scale: float, count: int, home: Path) -> dict[str, object]:
    from rainbow.datasets import open_dataset, replay_day, seed
    from rainbow.partitions.dates import PartitionRange
    from rainbow.source.connection import connect
    from rainbow.source.tables import TABLES

    dataset = open_dataset("synthetic", 1, scale)
    days = list(dataset.days)[:count]
    whole = PartitionRange(days[0], days[-1])
    with connect(autocommit=True) as connection:
        seed(connection, dataset, start=days[0])
        # a warehouse's first run lets dbt make its tables, once; that is not what is compared here
        prepare_warehouse()
        per_partition: dict[str, float] = defaultdict(float)
        by_day: list[float] = []
        dimensions: list[float] = []
        own: list[float] = []
        with Memory() as memory:
            for day in days:
                with timed(per_partition, "replay (not counted)"):
                    replay_day(connection, dataset, day)
                by_day.append(run(PartitionRange(day, day), per_partition))
                made, steps = noted(day)
                dimensions.append(made)
                own.append((by_day[-1] - steps) / NOTEBOOKS)
                print(f"{day} {by_day[-1]:.1f} s", file=sys.stderr)
            per_partition_peak = dict(memory.peak)

        limits: dict[str, float] = defaultdict(float)
        with timed(limits, "COPY of all tables to nowhere"):
            for table in TABLES:
                with connection.cursor() as cursor, cursor.copy(f"copy {table.name} to stdout (format binary)") as copy:
                    for _ in copy:
                        pass

    # a workbench that has never run these days, over the lake that has
    for file in home.glob("ledger.sqlite*"):
        file.unlink()
    drop_warehouse()
    prepare_warehouse()
    with Memory() as memory:
        command = [sys.executable, __file__, "--keep", str(home), "--single", str(whole.first), str(whole.last)]
        single = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        single_peak = dict(memory.peak)
    return {
        "lines": count_rows("orderdetails"),
        "product versions": count_rows("products"),
        "per-partition": {
            "seconds": round(sum(by_day), 1),
            "by step": rounded(per_partition),
            "day 2": round(by_day[1], 2),
            "last day": round(by_day[-1], 2),
            "dimensions, day 2": round(dimensions[1], 3),
            "dimensions, last day": round(dimensions[-1], 3),
            "outside the steps' work, a notebook": round(median(own), 3),
            "peak MB": rounded(per_partition_peak),
        },
        "single-run": {"seconds": round(sum(single.values()), 1), "by step": rounded(single), "peak MB": rounded(single_peak)},
        "limits": rounded(limits),
    }


def single_run(home: Path, first: str, last: str) -> dict[str, float]:
    """What the single-run process does: extract the whole range into a fresh lake, then run the pipeline over the lake of the days."""
    from rainbow.lake.extract import extract
    from rainbow.lake.files import Lake
    from rainbow.partitions.dates import PartitionRange

    whole = PartitionRange.parse(first, last)
    seconds: dict[str, float] = defaultdict(float)
    with timed(seconds, "extract"):
        extract(whole, lake=Lake(f"file://{home / 'fresh-lake'}"))
    steps: dict[str, float] = defaultdict(float)
    run(whole, steps)
    # the days' lake has every version of the products; reading the source against it again is not part of a single run
    steps.pop("extract")
    return {**seconds, **steps}


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}


def count_rows(table: str) -> int:
    from rainbow.warehouse.client import connect
    from rainbow.warehouse.sql import rows

    (row,) = rows(connect(), f"select count(*) as n from raw.{table} where not _deleted")
    return int(row.n)


def drop_warehouse() -> None:
    from rainbow.olap.client import connect as clickhouse
    from rainbow.warehouse.client import connect

    client = connect()
    for name in ("raw", "staging", "warehouse"):
        client.delete_dataset(name, delete_contents=True, not_found_ok=True)
    # nothing is published either, so that publish has all rows to bring
    for name in ("batch", "serving"):
        clickhouse().command(f"drop database if exists {name} sync")


def prepare_warehouse() -> None:
    from rainbow.warehouse import load
    from rainbow.warehouse.client import connect
    from rainbow.warehouse.transform import transform

    client = connect()
    load.prepare(client)
    transform(client=client)


if __name__ == "__main__":
    main()
