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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from rainbow.partitions.dates import PartitionRange

# five steps, eight dashboards
NOTEBOOKS = 13


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
    """Who is told how a backfill goes on: seconds by step, and those of each run with the planning before it."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.runs: list[float] = []
        self.last = self.begun = time.perf_counter()

    def begin(self, partitions: object) -> None:
        self.step("plan")

    def step(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] += now - self.last
        self.last = now

    def end(self, result: object) -> None:
        self.step("the run's end")
        self.runs.append(self.last - self.begun)
        self.begun = self.last

    def leave_out(self, name: str, began: float) -> None:
        """What is not part of the backfill."""
        now = time.perf_counter()
        self.seconds[name] += now - began
        self.last += now - began
        self.begun += now - began


def run(days: PartitionRange, mode: str, seconds: dict[str, float], live: Callable[[date], None] | None = None) -> list[float]:
    """What `rainbow backfill` does: plan, run, and write the catalogue; ``live`` is called before each day and not counted.

    Returns the seconds of each run.
    """
    from rainbow.partitions.plan import look_for_late_rows, make_plan
    from rainbow.runs.backfill import backfill
    from rainbow.runs.catalogue import write_catalogue

    steps = Steps(seconds)

    def before(day: date) -> None:
        began = time.perf_counter()
        if live:
            live(day)
        steps.leave_out("replay (not counted)", began)

    late, _ = look_for_late_rows()
    for result in backfill(make_plan(days, late=late), replan=make_plan, mode=mode, progress=steps, before=before):  # type: ignore[arg-type]
        if result.error:
            raise result.error
        print(f"{result.partitions} {steps.runs[-1]:.1f} s", file=sys.stderr)
    steps.step("plan")
    write_catalogue()
    steps.step("catalogue")
    return steps.runs


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
        with Memory() as memory:
            by_day = run(whole, "per-partition", per_partition, lambda day: replay_day(connection, dataset, day) and None)
            per_partition_peak = dict(memory.peak)

        dimensions, steps = zip(*map(noted, days), strict=True)
        own = [(taken - worked) / NOTEBOOKS for taken, worked in zip(by_day, steps, strict=True)]
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
            "seconds": round(counted(per_partition), 1),
            "by step": rounded(per_partition),
            "day 2": round(by_day[1], 2),
            "last day": round(by_day[-1], 2),
            "dimensions, day 2": round(dimensions[1], 3),
            "dimensions, last day": round(dimensions[-1], 3),
            "outside the steps' work, a notebook": round(median(own), 3),
            "peak MB": rounded(per_partition_peak),
        },
        "single-run": {"seconds": round(counted(single), 1), "by step": rounded(single), "peak MB": rounded(single_peak)},
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
    run(whole, "single-run", steps)
    # the days' lake has every version of the products; reading the source against it again is not part of a single run
    steps.pop("extract")
    return {**seconds, **steps}


def counted(seconds: dict[str, float]) -> float:
    return sum(value for name, value in seconds.items() if "not counted" not in name)


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
