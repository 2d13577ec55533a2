"""``rainbow plan``, ``rainbow partitions`` and ``rainbow asset``: what is there, what is not, and why."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rainbow import terminal

if TYPE_CHECKING:
    from datetime import date

    from rainbow.partitions.plan import Plan, Planned
    from rainbow.partitions.state import Key, Status

Select = Annotated[
    list[str] | None,
    typer.Option(
        "--select", "-s", metavar="ASSET", help="Only these: NAME, NAME+ with what is made from it, +NAME with what it is made from."
    ),
]
Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="KIND", help="Begin with what is missing, failed or stale alone; may be repeated.")
]
Force = Annotated[bool, typer.Option("--force", help="What is done, too.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]

_PLAN_HELP = """
Show what would run for a range of partitions, and why; nothing runs.

An asset is planned when it is missing, failed, or stale: made by other code,
from other data, or before its day had ended. Then all that is made from it is
planned too, and later partitions that show its day.

\b
  rainbow plan 2017-11-23 2017-12-29
  rainbow plan 2017-11-23 2017-12-29 --only failed
  rainbow plan 2017-12-01 --select dim_products+
"""

_PARTITIONS_HELP = """
Show the state of every asset for each partition: done, running, failed, stale
or missing.

\b
  rainbow partitions
  rainbow partitions 2017-12-01 2017-12-29 --select 'raw/*'
  rainbow partitions --json
"""

_ASSET_HELP = """
Describe an asset: what it is, what it is made from and what is made from it,
its last materializations and checks. Without a name, list all assets.

\b
  rainbow asset fact_sales
  rainbow asset batch/total_sales --partition 2017-12-01
"""

MARKS = {"done": ("●", "green"), "running": ("…", "cyan"), "failed": ("✕", "bold red"), "stale": ("↻", "yellow"), "missing": ("·", "dim")}


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command(help=_PLAN_HELP)(plan)
    app.command(help=_PARTITIONS_HELP)(partitions)
    app.command(help=_ASSET_HELP)(asset)


def plan(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="The first partition.")],
    last: Annotated[str | None, typer.Argument(metavar="[LAST]", help="The last partition, included; default: the first.")] = None,
    selection: Select = None,
    only: Only = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Show a plan; see ``_PLAN_HELP``."""
    from rainbow.partitions.dates import PartitionRange
    from rainbow.partitions.plan import look_for_late_rows, make_plan

    late, note = look_for_late_rows()
    kinds: Any = only or ()
    made = make_plan(PartitionRange.parse(first, last), selection=selection or (), only=kinds, force=force, late=late)
    if as_json:
        _print_json(
            {
                "first": made.partitions.first,
                "last": made.partitions.last,
                "note": note,
                "planned": [{"partition": p.partition_date, "asset": p.asset, "kind": p.kind, "reasons": p.reasons} for p in made.planned],
            }
        )
        return
    print_plan(made, note, _console())


def print_plan(made: Plan, note: str, console: Console) -> None:
    """Print a plan: days that need the same as one, and for each step what it would make and why."""
    if note:
        console.print(note, style="yellow", markup=False)
    for day in made.under_way:
        console.print(f"{day}  is under way in another run, and left alone")
    if not made:
        console.print("nothing to do: all of it is made by the code of now, from the data of now")
        return
    for days, same in _alike(made):
        steps = ", ".join(made.steps(days[0]))
        span = str(days[0]) if len(days) == 1 else f"{days[0]} .. {days[-1]}, {len(days)} partitions"
        console.print(f"[bold]{span}[/]  {steps}")
        for kind, reasons, names in _merged(same):
            console.print(f"  {kind:<9}{_listed(names)}", style=MARKS.get(kind, ("", ""))[1], markup=False, end="")
            console.print(f"  {'; '.join(reasons)}", markup=False)
    console.print(f"{len(made.days)} partitions, {len(made.planned)} assets to make")


def _alike(made: Plan) -> Iterable[tuple[list[date], list[Planned]]]:
    """Runs of days that need the same assets for the same reasons."""

    def needs(day: date) -> tuple[Any, ...]:
        return tuple((p.asset, p.kind, p.reasons) for p in made.of(day))

    for _, group in groupby(made.days, key=needs):
        days = list(group)
        yield days, made.of(days[0])


def _merged(listed: Sequence[Planned]) -> list[tuple[str, tuple[str, ...], list[str]]]:
    """What is planned, with the assets of one kind and reason together; of what follows from upstream only that it does."""
    merged: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for one in listed:
        made_from = one.kind == "upstream" and all(reason.startswith("made from") for reason in one.reasons)
        merged.setdefault((one.kind, ("made from the above",) if made_from else one.reasons), []).append(one.asset)
    return [(kind, reasons, names) for (kind, reasons), names in merged.items()]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} and {len(names) - 3} more"


def partitions(
    first: Annotated[
        str | None, typer.Argument(metavar="[FIRST]", help="The first partition; default: the first that was ever run.")
    ] = None,
    last: Annotated[str | None, typer.Argument(metavar="[LAST]", help="The last partition, included.")] = None,
    selection: Select = None,
    as_json: AsJson = False,
) -> None:
    """Show the grid; see ``_PARTITIONS_HELP``."""
    from rainbow.partitions.assets import REPORT, assets, select
    from rainbow.partitions.dates import PartitionRange, today
    from rainbow.partitions.state import freshness, states

    asked = PartitionRange.parse(first, last) if first else None
    found = states(asked)
    chosen = select(selection) if selection else set(assets())
    names = [name for name in assets() if name in chosen]
    days = sorted({day for _, day in found})
    if as_json:
        _print_json([{"partition": day, "assets": {name: _as_json(found[name, day]) for name in names}} for day in days])
        return
    console = _console()
    if not days:
        console.print("no partition was run yet: run one with `rainbow run DAY`, or many with `rainbow backfill FIRST LAST`")
        return
    _print_grid(console, names, days, found)
    if not asked:
        console.print(f"reports are fresh to {freshness(found, REPORT, today())}")


def _as_json(status: Status) -> dict[str, Any]:
    newest = status.newest
    more = {"made_at": newest.made_at, "run": newest.run, "data_version": newest.data_version} if newest else {}
    return {"state": status.state, "reasons": status.reasons, **more}


def _print_grid(console: Console, names: Sequence[str], days: Sequence[date], found: Mapping[Key, Status]) -> None:
    width = max(len(name) for name in names) + 2
    shown = list(days)[-max(console.width - width, 10) :]
    if len(shown) < len(days):
        console.print(f"the last {len(shown)} of {len(days)} partitions; name a range for others", style="dim")
    console.print(" " * width + month_labels(shown)[: console.width - width], style="dim")
    for digit in (0, 1):
        console.print(" " * width + "".join(f"{day.day:02d}"[digit] for day in shown), style="dim")
    for name in names:
        line = Text(name.ljust(width))
        for day in shown:
            mark, style = MARKS[found[name, day].state]
            line.append(mark, style=style)
        console.print(line)
    counts: Counter[str] = Counter(found[name, day].state for name in names for day in days)
    console.print("  ".join(f"[{MARKS[state][1]}]{MARKS[state][0]} {state}[/] {counts[state]:,}" for state in MARKS if counts[state]))
    reasons = Counter(
        (status.state, reason)
        for key, status in found.items()
        if key[0] in names and status.state in ("failed", "stale")
        for reason in status.reasons
    )
    for (state, reason), count in reasons.most_common(8):
        console.print(Text(f"  {MARKS[state][0]} {count:>6,} x {reason}", style=MARKS[state][1]))
    if set(counts) - {"done", "running"}:
        console.print(f"`rainbow plan {days[0]} {days[-1]}` says what to do about it")


def month_labels(shown: Sequence[date]) -> str:
    """The month's name where its days begin; left out where the next one's would stand on it."""
    starts = [place for place, day in enumerate(shown) if place == 0 or day.month != shown[place - 1].month]
    line = ""
    for place, following in zip(starts, [*starts[1:], math.inf], strict=True):
        if following - place > len("2017-11"):
            line = f"{line.ljust(place)}{shown[place]:%Y-%m}"
    return line


def asset(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The asset, e.g. fact_sales.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", metavar="DAY", help="Of this partition alone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Describe an asset; see ``_ASSET_HELP``."""
    from rainbow.partitions.assets import asset as named
    from rainbow.partitions.assets import assets
    from rainbow.partitions.dates import parse_partition

    console = _console()
    if name is None:
        if as_json:
            _print_json([{"asset": one.name, "step": one.step, "description": one.description} for one in assets().values()])
            return
        table = Table("asset", "step", "description", box=None, pad_edge=False)
        for one in assets().values():
            table.add_row(one.name, one.step, Text(one.description))
        console.print(table)
        return
    _describe(named(name).name, parse_partition(partition) if partition else None, as_json, console)


def _describe(name: str, day: date | None, as_json: bool, console: Console) -> None:
    from rainbow.partitions.assets import assets
    from rainbow.partitions.dates import today
    from rainbow.partitions.ledger import Ledger
    from rainbow.partitions.state import freshness, states

    one = assets()[name]
    made_from_it = [other.name for other in assets().values() if name in other.upstream]
    ledger = Ledger()
    history = ledger.history(name, partition=day)
    failed = {key: checks for key, checks in ledger.failed_checks().items() if key[0] == name and day in (None, key[1])}
    known = states()
    fresh = freshness(known, name, today())
    found = {key[1]: status for key, status in known.items() if key[0] == name and day in (None, key[1])}
    if as_json:
        _print_json(
            {
                "asset": name,
                "step": one.step,
                "description": one.description,
                "upstream": one.upstream,
                "downstream": made_from_it,
                "code_version": one.code_version,
                "fresh_to": fresh.newest,
                "days_behind": fresh.days_behind,
                "partitions": {str(d): _as_json(status) for d, status in found.items()},
                "materializations": [
                    {
                        "partition": made.partition_date,
                        "run": made.run,
                        "made_at": made.made_at,
                        "rows": made.rows,
                        "bytes": made.bytes,
                        "seconds": made.seconds,
                        "code_version": made.code_version,
                        "data_version": made.data_version,
                        "inputs": made.inputs,
                        **made.metadata,
                    }
                    for made in history
                ],
                "failed_checks": [
                    {"partition": key[1], "check": check.name, "severity": check.severity, "detail": check.detail, "rows": check.sample}
                    for key, checks in failed.items()
                    for check in checks
                ],
            }
        )
        return
    console.print(f"[bold]{name}[/]  made by {one.step}, code {one.code_version}")
    console.print(one.description, markup=False)
    console.print(f"made from    {', '.join(one.upstream) or 'the source'}", markup=False)
    console.print(f"used by      {', '.join(made_from_it) or 'nothing here'}", markup=False)
    counts = Counter(status.state for status in found.values())
    console.print("partitions   " + (", ".join(f"{count:,} {state}" for state, count in counts.items()) or "none"))
    console.print(f"fresh to     {fresh}")
    for d, status in found.items():
        if status.state in ("failed", "stale"):
            console.print(f"  {MARKS[status.state][0]} {d}  {'; '.join(status.reasons)}", style=MARKS[status.state][1], markup=False)
    table = Table("partition", "made at", "rows", "bytes", "seconds", "data version", "run", box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for made in history:
        numbers = (f"{made.rows:,}" if made.rows is not None else "", f"{made.bytes:,}" if made.bytes is not None else "")
        taken = f"{made.seconds:.2f}" if made.seconds is not None else ""
        table.add_row(str(made.partition_date), f"{made.made_at:%Y-%m-%d %H:%M:%S}", *numbers, taken, made.data_version[:16], made.run)
    if history:
        console.print(table)
    for (_, d), checks in failed.items():
        for check in checks:
            console.print(f"  ✕ {d}  {check.severity} {check.name}: {check.detail}", style="red", markup=False)


def _console() -> Console:
    # into a file or a pipe a table may be as wide as it is
    return terminal.console(file=sys.stdout, width=None if sys.stdout.isatty() else 160)


def _print_json(value: Any) -> None:
    import orjson

    sys.stdout.write(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2).decode() + "\n")
