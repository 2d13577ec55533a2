"""``rainbow run``, ``rainbow backfill``, ``rainbow report``, ``rainbow rebuild``, ``rainbow query`` and ``rainbow demo``: the batch layer's work and what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from rainbow import terminal
from rainbow.cli.partitions import Force, Only, Select, print_plan

if TYPE_CHECKING:
    from rainbow.partitions.dates import PartitionRange
    from rainbow.partitions.plan import Plan
    from rainbow.partitions.state import Key
    from rainbow.query import Answer
    from rainbow.runs.run import RunResult

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing when all is well; for cron.")]

_RUN_HELP = """
Run the whole pipeline for one partition: extract, load, transform, validate,
publish, report.

It may be run any number of times; what has not changed is not done again.

\b
  rainbow run 2017-12-01
"""

_BACKFILL_HELP = """
Show the plan for a range of partitions (see `rainbow plan`), then carry it
out, in date order; what is done is left alone. After a crash, the same command
goes on where it stopped.

\b
  rainbow backfill 2017-11-23 2017-12-29
  rainbow backfill 2017-11-23 2017-12-29 --mode single-run
  rainbow backfill 2017-11-23 2017-12-29 --only failed
  rainbow backfill 2017-12-01 2017-12-29 --select report/sales --force
"""

_REPORT_HELP = """
Draw a partition's report from what is published: the dashboards, one page of
them that opens without a network, and reports/index.html, which leads to all.

Without a day it is the last complete partition's.

\b
  rainbow report
  rainbow report 2017-12-01
  rainbow report 2017-12-01 --pdf
"""

_REBUILD_HELP = """
Make models of the warehouse anew from raw alone, then test and publish them:
dimensions, the fact, batch views. Rows and keys come out as they were, unless
something was wrong with them.

\b
  rainbow rebuild dim_products
  rainbow rebuild dim_products fact_sales --from 2017-12-01
"""

_QUERY_HELP = """
Ask a store, for reading only: the source (PostgreSQL), the lake (DuckDB over
its Parquet files), the warehouse (BigQuery, raw and staging too) or the olap
store (ClickHouse).

\b
  rainbow query --on olap "select * from serving.total_sales"
  rainbow query --on lake "select count(*) from orders" --format json
"""

_DEMO_HELP = """
Live through 37 days of a real shop: start the services, seed the shop as it
was on 2017-11-23, then replay each day and run its partition.

Run again, it goes on where it stopped, and changes nothing when all is done.

\b
  rainbow demo
  rainbow demo --until 2017-11-26
"""


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command(help=_RUN_HELP)(run)
    app.command(help=_BACKFILL_HELP)(backfill)
    app.command(help=_REPORT_HELP)(report)
    app.command(help=_REBUILD_HELP)(rebuild)
    app.command(help=_QUERY_HELP)(query)
    app.command(help=_DEMO_HELP)(demo)


def run(partition: Annotated[str, typer.Argument(metavar="DAY", help="The partition, e.g. 2017-12-01.")], quiet: Quiet = False) -> None:
    """Run one partition; see ``_RUN_HELP``."""
    from rainbow.partitions.dates import PartitionRange
    from rainbow.partitions.plan import make_plan

    def forced(partitions: PartitionRange) -> Plan:
        return make_plan(partitions, force=True)

    _carry_out(forced(PartitionRange.parse(partition)), forced, _console(quiet), {}, fail_fast=True)


def backfill(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="The first partition.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="The last partition, included.")],
    selection: Select = None,
    only: Only = None,
    mode: Annotated[str, typer.Option(help="per-partition: a run a day; single-run: one run for all days.")] = "per-partition",
    max_parallel: Annotated[int, typer.Option("--max-parallel", min=1, help="How many reports are drawn at a time.")] = 2,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first partition that fails.")] = False,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Run a range of partitions; see ``_BACKFILL_HELP``."""
    from rainbow.partitions.dates import PartitionRange
    from rainbow.partitions.plan import look_for_late_rows, make_plan
    from rainbow.runs.backfill import check_mode

    check_mode(mode)
    late, note = look_for_late_rows()
    kinds: Any = only or ()

    def replan(partitions: PartitionRange) -> Plan:
        return make_plan(partitions, selection=selection or (), only=kinds, force=force, late=late)

    made = replan(PartitionRange.parse(first, last))
    if not quiet:
        print_plan(made, note, _console())
    _carry_out(made, replan, _console(quiet), late, mode=mode, max_parallel=max_parallel, fail_fast=fail_fast)


def report(
    partition: Annotated[str | None, typer.Argument(metavar="[DAY]", help="The partition, e.g. 2017-12-01.")] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Print it to sales.pdf too, with Chromium or Chrome.")] = False,
    quiet: Quiet = False,
) -> None:
    """Draw a report; see ``_REPORT_HELP``."""
    from rainbow.charts.serving import scope
    from rainbow.errors import PartitionError
    from rainbow.partitions.dates import PartitionRange
    from rainbow.partitions.ledger import Ledger
    from rainbow.reports.pdf import print_page
    from rainbow.runs.catalogue import write_catalogue
    from rainbow.runs.run import run_partitions

    asked = PartitionRange.parse(partition or scope("total_sales", None).partition_date)
    if asked.last not in Ledger().days():
        raise PartitionError(f"partition {asked} was never run: `rainbow run {asked}` runs it and draws its report")
    try:
        page = run_partitions(asked, steps=("report",)).report
    finally:
        index = write_catalogue()
    console = _console(quiet)
    for path in (page, *([print_page(page)] if pdf else []), index):
        console.print(str(path), markup=False)


def rebuild(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Which models, e.g. dim_products or batch/total_sales.")],
    start: Annotated[str | None, typer.Option("--from", metavar="DAY", help="Only what is valid, or sold, from this day on.")] = None,
    quiet: Quiet = False,
) -> None:
    """Make models anew; see ``_REBUILD_HELP``."""
    from rainbow import batch

    for step in batch.rebuild(models, start):
        _console(quiet).print(f"{step.name:<10} {step.seconds:6.1f} s  {step.note}")


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="The query; - reads it from standard input.")],
    on: Annotated[str, typer.Option("--on", help="source, lake, warehouse or olap.")],
    shape: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
) -> None:
    """Ask a store; see ``_QUERY_HELP``."""
    from rainbow import query as asking
    from rainbow.errors import RainbowError

    if shape not in ("table", "csv", "json"):
        raise RainbowError(f"there is no format {shape!r}: use table, csv or json")
    answer = asking.query(on, sys.stdin.read() if sql == "-" else sql)  # type: ignore[arg-type]
    if shape == "table":
        _print_table(answer)
    else:
        text = answer.as_csv() if shape == "csv" else answer.as_json() + "\n"
        # a file or a program gets the data as they are, a person's terminal nothing that acts on it
        sys.stdout.write(terminal.harmless(text) if sys.stdout.isatty() else text)


def demo(
    until: Annotated[str | None, typer.Option(metavar="DAY", help="Stop after this day.")] = None,
    quiet: Quiet = False,
) -> None:
    """Run the demo; see ``_DEMO_HELP``."""
    from rainbow import demo as shop
    from rainbow import stack
    from rainbow.partitions.dates import PartitionRange
    from rainbow.partitions.plan import make_plan
    from rainbow.settings import settings

    console = _console(quiet)
    began = time.perf_counter()
    stack.up()
    days = PartitionRange.parse(shop.DAYS.first, until or shop.DAYS.last)
    if shop.prepare_shop():
        console.print(f"the shop is as it was on the morning of {days.first} ({time.perf_counter() - began:.0f} s)")
    todo = make_plan(days)
    if todo:
        console.print(f"{len(todo.days)} of {len(days)} days to live through; each is replayed, then its partition is run")
    results = _carry_out(todo, make_plan, console, {}, before=shop.live_through, fail_fast=True)
    expected, published = shop.totals_of_the_data_set(days), shop.totals_published(days)
    if not quiet:
        _print_totals(console, expected, published)
        if not results:
            console.print(f"all {len(days)} partitions were done already: nothing was changed")
        console.print(f"{time.perf_counter() - began:.0f} s; look at {settings().reports_dir / 'index.html'}")
    if expected != published:
        raise typer.Exit(1)


def _carry_out(
    plan: Plan, replan: Callable[[PartitionRange], Plan], console: Console, late: dict[Key, int], **options: Any
) -> list[RunResult]:
    """Carry out a plan, a line a run; what failed is said again at the end, and the command's exit code is 1 then.

    ``late`` are the late rows that the plan knows of; the first extract takes all of them.
    """
    from rainbow.runs.backfill import backfill as carry_out
    from rainbow.runs.catalogue import write_catalogue

    progress = _Lines(console, len(plan.days))
    results: list[RunResult] = []
    try:
        for result in carry_out(plan, replan=replan, progress=progress, **options):
            results.append(result)
            if "extract" in result.steps:
                late.clear()
    finally:
        progress.status.stop()
        if plan:
            write_catalogue()
    failed = [result for result in results if result.error]
    if len(results) > 1 and not console.quiet:
        _print_summary(console, results)
    for result in failed:
        terminal.console(stderr=True).print(f"{result.partitions}: {result.error}", style="red", markup=False, highlight=False)
    if failed:
        raise typer.Exit(1)
    return results


class _Lines:
    """A line a run, with its rows, its seconds and the time that is left."""

    def __init__(self, console: Console, days: int) -> None:
        self.console, self.days = console, days
        self.done = 0
        self.began = time.perf_counter()
        self.status = console.status("")

    def begin(self, partitions: PartitionRange) -> None:
        """Show what is under way, where the terminal can."""
        self.current = partitions
        if self.console.is_terminal:
            self.status.update(f"{partitions}  extract")
            self.status.start()

    def step(self, name: str) -> None:
        """Show how far the run is."""
        if self.console.is_terminal:
            self.status.update(f"{self.current}  after {name}")

    def end(self, result: RunResult) -> None:
        """Print the run's line."""
        self.status.stop()
        self.done += len(result.partitions)
        left = (time.perf_counter() - self.began) / self.done * max(self.days - self.done, 0)
        remaining = f"  {int(left // 60)}:{int(left % 60):02d} left" if self.days > 1 else ""
        if result.error:
            self.console.print(f"{result.partitions}  failed: {result.error}", style="red", markup=False)
        elif "extract" in result.steps:
            self.console.print(f"{result.partitions}  {result.rows:>9,} rows  {result.seconds:6.1f} s  {_checks(result)}{remaining}")
        else:
            self.console.print(f"{result.partitions}  {', '.join(result.steps)}  {result.seconds:6.1f} s{remaining}")


def _checks(result: RunResult) -> str:
    passed = sum(check.passed for check in result.checks)
    warned = len(result.checks) - passed
    return f"{passed} checks passed" + (f", {warned} {'warning' if warned == 1 else 'warnings'}" if warned else "")


def _console(quiet: bool = False) -> Console:
    # the runner sends stdout into a log while it works, so the stream is held from the start
    return terminal.console(file=sys.stdout, quiet=quiet)


def _print_summary(console: Console, results: list[RunResult]) -> None:
    table = Table(title="Summary", title_justify="left", show_footer=True)
    table.add_column("partitions", f"{sum(len(r.partitions) for r in results)}")
    table.add_column("rows", f"{sum(r.rows for r in results):,}", justify="right")
    table.add_column("seconds", f"{sum(r.seconds for r in results):.1f}", justify="right")
    table.add_column("checks", f"{sum(len(r.checks) for r in results):,}", justify="right")
    table.add_column("not passed", f"{sum(not c.passed for r in results for c in r.checks)}", justify="right")
    table.add_column("failed", f"{sum(r.error is not None for r in results)}", justify="right")
    for r in results:
        table.add_row(
            str(r.partitions),
            f"{r.rows:,}",
            f"{r.seconds:.1f}",
            str(len(r.checks)),
            str(sum(not c.passed for c in r.checks)),
            "yes" if r.error else "",
        )
    console.print(table)


def _print_totals(console: Console, expected: object, published: object) -> None:
    table = Table(title="Totals", title_justify="left")
    for column in ("", "order lines", "gross", "discount", "net"):
        table.add_column(column, justify="left" if not column else "right")
    for name, t in (("the data set, summed directly", expected), ("fact_sales and serving.total_sales", published)):
        table.add_row(name, f"{t.lines:,}", f"{t.gross:,.2f}", f"{t.discount:,.2f}", f"{t.net:,.2f}")  # type: ignore[attr-defined]
    console.print(table)
    console.print("equal to the cent" if expected == published else "[red]they differ[/red]")


def _print_table(answer: Answer) -> None:
    from rich.text import Text

    table = Table()
    for column in answer.columns:
        table.add_column(Text(column))
    for row in answer.rows:
        table.add_row(*(Text("" if value is None else terminal.harmless(str(value))) for value in row))
    _console().print(table)
