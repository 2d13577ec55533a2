"""``rainbow reconcile``: does every place hold what the source holds?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from rainbow.errors import DataError

_HELP = """
Compare counts and sums, by table and day, at PostgreSQL, the mirror, the
fact and the unified view, and name the first place that differs.

The keys of rows that differ between PostgreSQL and the mirror are named, and
--repair reads them from PostgreSQL anew. For the places of the batch it says
which command repairs them. Exit code 1 when something differs.

\b
  rainbow reconcile                         all days
  rainbow reconcile 2017-11-23              one day
  rainbow reconcile 2017-11-23 2017-12-29   a range
  rainbow reconcile --day 2017-11-23 --repair
  rainbow reconcile --json
"""


def add_to(app: typer.Typer) -> None:
    """Add this module's command to the command line."""
    app.command(help=_HELP)(reconcile)


def reconcile(
    first: Annotated[str | None, typer.Argument(metavar="[DAY", help="The first day, or the only one.")] = None,
    last: Annotated[str | None, typer.Argument(metavar="[LAST]]", help="The last day.")] = None,
    day: Annotated[str | None, typer.Option(metavar="DAY", help="The only day.")] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Read the mirror's rows that differ from PostgreSQL anew.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was compared, as JSON.")] = False,
) -> None:
    """Compare the places; see ``_HELP``."""
    import orjson

    from rainbow.partitions.dates import PartitionRange
    from rainbow.reconcile import reconcile as compare
    from rainbow.reconcile import remedy

    if day and first:
        raise DataError("say the day once: as --day, or as an argument")
    begin = day or first
    done = compare(PartitionRange.parse(begin, last) if begin else None, repair=repair)
    if as_json:
        typer.echo(orjson.dumps(done.as_dict(), default=str).decode())
    else:
        console = Console(soft_wrap=True, highlight=False)
        for one in done.differing:
            held = ", ".join(f"{place.name} {place.rows:,} rows {[str(s) for s in place.sums]}" for place in one.places)
            console.print(f"{one.what} {one.day}: {one.first_that_differs} differs; {held}", markup=False)
        for name, keys in done.keys.items():
            console.print(f"{name}: keys {', '.join(map(str, keys))} differ{' and were read anew' if done.repaired else ''}")
        for line in remedy(done.differing):
            console.print(f"to repair: {line}")
        console.print(f"{len(done.days)} days of tables compared, {len(done.differing)} differ; {done.repaired} rows repaired")
    if done.differing:
        raise typer.Exit(1)
