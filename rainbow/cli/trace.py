"""``rainbow trace``: where a day's figures come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from rainbow import terminal

if TYPE_CHECKING:
    from rainbow.trace import Place, Trace

_HELP = """
Follow a day's figures from the source to the chart: how many orders and lines
each place has, what they come to, the first place that differs, and whether
the day is from the batch or from the mirror; exit 1 if two places differ.

The view is one of those that charts read: total_sales, top_sellers, ...
\b
  rainbow trace total_sales --day 2017-12-01
  rainbow trace top_sellers --day 2017-12-01 --sql
  rainbow trace total_sales --day 2017-12-01 --json
"""

_TITLES = {
    "orders": "orders",
    "lines": "lines",
    "sales_quantity": "pieces",
    "total_sales_amount": "sales",
    "total_discount_amount": "discount",
    "net_sales_amount": "net sales",
}


def add_to(app: typer.Typer) -> None:
    """Add this module's command to the command line."""
    app.command(help=_HELP)(trace)


def trace(
    view: Annotated[str, typer.Argument(metavar="VIEW", help="The view, e.g. total_sales.")],
    day: Annotated[str, typer.Option("--day", metavar="DAY", help="The day, e.g. 2017-12-01.")],
    with_sql: Annotated[bool, typer.Option("--sql", help="With each place's query, to be sent again.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Follow a day's figures; see ``_HELP``."""
    from rainbow.partitions.dates import parse_partition
    from rainbow.trace import trace as follow

    (found,) = follow(parse_partition(day), [view])
    if as_json:
        typer.echo(found.as_json())
    else:
        _show(found, with_sql=with_sql)
    if found.first_difference or not any(place.figures for place in found.places):
        raise typer.Exit(1)


def _show(found: Trace, *, with_sql: bool) -> None:
    console = terminal.console()
    table = Table("place", *_TITLES.values(), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    before: Place | None = None
    for place in found.places:
        if place.figures is None:
            table.add_row(place.name, style="dim")
            continue
        differing = set(place.differs_from(before)) if before else set()
        table.add_row(place.name, *(_cell(place.figures.get(name), name in differing) for name in _TITLES))
        before = place
    console.print(table)
    for place in found.places:
        if place.fault:
            console.print(f"{place.name}: {place.fault}", markup=False, style="yellow")
    if found.first_difference:
        one, other = found.first_difference
        console.print(f"\n{other.name} is the first that differs from the place before it, {one.name}.", style="red")
    elif before:
        console.print("\nEvery place says the same.", style="green")
    if found.side:
        console.print(f"serving.{found.view} takes the day from the {found.side}.", markup=False, style="default")
    for title, names in (
        ("lake files", [f"{path}  {rows:,} versions" for path, rows in found.lake_files.items()]),
        ("notebooks", found.notebooks),
    ):
        if names:
            console.print(f"\n{title} of the partition")
            for name in names:
                console.print(f"  {name}", markup=False)
    if with_sql:
        for place in found.places:
            console.print(f"\n# {place.name}: rainbow query --on {place.store}\n{place.sql}", markup=False)


def _cell(value: Any, differs: bool) -> str:
    text = "" if value is None else f"{value:,}"
    return f"[red]{text}[/]" if differs else text
