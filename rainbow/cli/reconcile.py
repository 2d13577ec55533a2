"""``rainbow reconcile``: whether every place holds what the source holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from rainbow.reconcile import Reconciled

_HELP = """
Compare counts and checksums of every table, day by day, at PostgreSQL, the
lake, raw, the fact, the batch view, the mirror and the unified view, and name
the first place that differs; exit 1 if one does.

What was changed since the last extract is behind in the batch, not wrong. With
--repair the mirror's rows that differ are read again from PostgreSQL.

\b
  rainbow reconcile
  rainbow reconcile --day 2017-12-01
  rainbow reconcile 2017-12-01 2017-12-07 --repair
"""

# seconds that the mirror is given to catch up before it is said to differ
_PATIENCE = 30.0


def add_to(app: typer.Typer) -> None:
    """Add this module's command to the command line."""
    app.command(help=_HELP)(reconcile)


def reconcile(
    first: Annotated[str | None, typer.Argument(metavar="[FIRST]", help="First day; default: all days.", show_default=False)] = None,
    last: Annotated[str | None, typer.Argument(metavar="[LAST]", help="Last day; default: the first.", show_default=False)] = None,
    day: Annotated[str | None, typer.Option("--day", metavar="DAY", help="This day alone.")] = None,
    with_repair: Annotated[bool, typer.Option("--repair", help="Read the mirror's rows that differ again from PostgreSQL.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Compare every place with the source; see ``_HELP``."""
    from rainbow.errors import RainbowError
    from rainbow.partitions.dates import PartitionRange
    from rainbow.reconcile import reconcile as compare
    from streaming.repairing import repair

    if day and first:
        raise RainbowError("name the days once: by --day, or by FIRST and LAST")
    start = day or first
    partitions = PartitionRange.parse(start, last or start) if start else None
    found = compare(partitions, settle=_settle)
    repaired: dict[str, int] = {}
    if with_repair and any(one.place == "mirror" for one in found.differences):
        repaired = repair(found)
        found = compare(partitions, settle=_settle)
    if as_json:
        typer.echo(found.as_json())
    else:
        _show(found, repaired)
    if found.differences:
        raise typer.Exit(1)


def _settle() -> None:
    """Wait until the mirror has all that was committed, where a speed layer runs."""
    from rainbow.errors import RainbowError
    from streaming.progress import wait_until_caught_up

    try:
        wait_until_caught_up(_PATIENCE)
    except RainbowError as error:
        Console(stderr=True, soft_wrap=True).print(f"rainbow: {error}", style="yellow", markup=False, highlight=False)


def _show(found: Reconciled, repaired: dict[str, int]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for table, rows in repaired.items():
        console.print(f"{table}: {rows:,} rows of the mirror read again", style="yellow")
    if found.differences:
        shown = Table("table", "day", "first place that differs", "rows: source", "there", "keys", box=None, pad_edge=False)
        for one in found.differences:
            keys = ", ".join(map(str, one.keys[:8])) + (" ..." if len(one.keys) > 8 else "")
            shown.add_row(one.table, str(one.day), one.place, f"{one.expected[0]:,}", f"{one.found[0]:,}", keys, style="red")
        console.print(shown)
        for advice in dict.fromkeys(one.advice for one in found.differences[:10]):
            console.print(f"  {advice}", markup=False)
    for table, days in found.behind.items():
        console.print(
            f"{table}: {days:,} days were changed since the last extract; the next run of a partition brings them", style="yellow"
        )
    for place, reason in found.skipped.items():
        console.print(f"{place} was not compared: {reason}", markup=False, style="dim")
    if len(found.places) == 1:
        console.print("there is nothing to compare the source with", style="yellow")
    elif not found.differences:
        days = max(found.days.values(), default=0)
        console.print(f"{len(found.days) - 1} tables, up to {days:,} days each: {', '.join(found.places)} agree.", style="green")
