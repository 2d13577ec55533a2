"""``rainbow seed`` and ``rainbow replay``: the shop's data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from rainbow import terminal
from rainbow.errors import DataError, ServiceError

if TYPE_CHECKING:
    from rainbow.datasets.seeding import Seeded
    from rainbow.datasets.shop import Dataset

_SEED_HELP = """
Fill the shop's database: make its tables, and load a data set into them.

A data set is loaded whole, or as it was when a day began, from where
`rainbow replay` lives through the days. All of it arrives or nothing does. A
shop that has rows is left as it is, unless --reset is given.

Empty tables, for a shop that brings its own rows:
\b
  rainbow seed --schema-only

A year of a grocery chain, 1,469,307 order lines; or the chain on the
morning of a day, to be replayed from there:
\b
  rainbow seed --dataset completejourney
  rainbow seed --dataset completejourney --from 2017-11-23

A made shop at the original's size, in VND, 2024-08-01 .. 2024-09-06:
\b
  rainbow seed --dataset synthetic --from 2024-08-01
"""

_REPLAY_HELP = """
Live through the days of the data set that the shop was seeded with.

It goes on where the last replay ended, up to the end of the day given; a day
that is in already is not done again. Each day is one transaction, so a replay
can be interrupted at any time.

\b
  rainbow replay --until 2017-11-23    one day
  rainbow replay --until 2017-12-29    37 days

With --through-api the orders of that one day are posted to the orders API
instead, which sets prices, takes stock, and gives them the instant of now, so
they are sales of today. It posts a day that is in already, since its customers
and products must be there. Posted again, nothing is doubled.
\b
  rainbow replay --until 2017-11-23 --through-api --rate 50
  rainbow replay --until 2017-11-23 --through-api --speed 60
"""


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    app.command(help=_SEED_HELP)(seed)
    app.command(help=_REPLAY_HELP)(replay)


def seed(
    dataset: Annotated[str | None, typer.Option(help="The data set: completejourney or synthetic.")] = None,
    schema_only: Annotated[bool, typer.Option("--schema-only", help="Make the tables and leave them empty.")] = False,
    start: Annotated[
        str | None, typer.Option("--from", metavar="DAY", help="Only what was there when this day began; replay goes on.")
    ] = None,
    number: Annotated[int, typer.Option("--seed", help="What is made up follows from this number; the same number, the same shop.")] = 1,
    reset: Annotated[bool, typer.Option("--reset", help="Remove all rows of the shop first.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing when all is well.")] = False,
) -> None:
    """Fill the shop's database; see ``_SEED_HELP``."""
    if schema_only == (dataset is not None):
        raise DataError("say what to load: --dataset completejourney, --dataset synthetic, or --schema-only")
    if schema_only and start:
        raise DataError("--from is a day of a data set: leave it out with --schema-only")
    first = _day(start, "--from") if start else None
    with _shop() as connection:
        if dataset is None:
            _make_schema(connection, reset, quiet)
        else:
            _load(connection, dataset, number, first, reset, quiet)


def replay(
    until: Annotated[str, typer.Option(metavar="DAY", help="The last day to replay, e.g. 2017-12-29.")],
    through_api: Annotated[bool, typer.Option("--through-api", help="Post that day's orders to the API, as orders of now.")] = False,
    url: Annotated[str | None, typer.Option(help="The API's address; default: RAINBOW_API_HOST and _PORT.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.01, help="Orders a second; default: as fast as they are answered.")] = None,
    speed: Annotated[float | None, typer.Option(min=0.01, help="Times as fast as they were placed: 60 is a day in 24 minutes.")] = None,
    at_a_time: Annotated[int, typer.Option("--at-a-time", min=1, max=256, help="Orders under way at most.")] = 16,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing when all is well.")] = False,
) -> None:
    """Live through days; see ``_REPLAY_HELP``."""
    from rainbow import datasets

    if through_api:
        _post(_day(until, "--until"), url, rate, speed, at_a_time, quiet)
        return
    if url or rate or speed:
        raise DataError("--url, --rate and --speed are for --through-api: add it")

    console = terminal.console(quiet=quiet)
    last = _day(until, "--until")
    with _shop() as connection:
        done = datasets.replay(
            connection,
            last,
            on_progress=lambda d: console.print(
                f"{d.day}  {d.orders:>7,} orders  {d.lines:>9,} lines  {d.added:>6,} rows added  {d.changed:>7,} changed  {d.seconds:6.2f} s"
            ),
        )
        if done:
            console.print(
                f"{len(done)} {'day' if len(done) == 1 else 'days'}, {sum(d.lines for d in done):,} lines; the shop is at the end of {last}"
            )
        else:
            console.print(f"{last} is in already (the shop is at the end of {datasets.replay_state(connection).done}): nothing to do")


def _post(day: date, url: str | None, rate: float | None, speed: float | None, at_a_time: int, quiet: bool) -> None:
    import asyncio

    from rainbow import datasets
    from rainbow.datasets.posting import Posted, baskets, post
    from rainbow.settings import settings

    if rate and speed:
        raise DataError("--rate and --speed are two ways to say the same: give one of them")
    with _shop() as connection:
        state = datasets.replay_state(connection)
    if not state.start <= day <= state.done:
        raise DataError(f"{day} is not in yet, so its customers and products are not all there: `rainbow replay --until {day}` first")
    orders = baskets(datasets.open_dataset(state.dataset, state.seed, state.scale), day, state.start)
    console = terminal.console(quiet=quiet)
    token = settings().api_token

    def show(posted: Posted) -> None:
        answered = len(posted.took) + posted.failed
        if answered % 500 == 0:
            console.print(f"{answered:>7,} of {len(orders):,} orders  {posted.seconds:7.1f} s")

    done = asyncio.run(
        post(
            orders,
            url or f"http://{settings().api_host}:{settings().api_port}",
            token=token.get_secret_value() if token else None,
            rate=rate,
            speed=speed,
            at_a_time=at_a_time,
            on_progress=show,
        )
    )
    console.print(
        f"{day}: {done.orders:,} orders in {done.seconds:.1f} s ({done.orders / done.seconds if done.seconds else 0:,.0f}/s, "
        f"p50 {done.milliseconds(0.5):.0f} ms, p99 {done.milliseconds(0.99):.0f} ms)"
    )
    refused = "".join(f", {count:,} {kind}" for kind, count in done.refused.most_common())
    console.print(
        f"{done.placed:,} placed, {done.known:,} known from before, {done.refused.total():,} refused{refused}, {done.failed:,} without an answer"
    )
    if done.failed:
        raise typer.Exit(1)


@contextmanager
def _shop() -> Iterator[Any]:
    """A connection to the shop's database; what PostgreSQL refuses is an error of one line."""
    import psycopg

    from rainbow.source.connection import connect

    with connect() as connection:
        try:
            yield connection
        except psycopg.Error as error:
            reason = error.diag.message_primary or (str(error).splitlines() or ["no reason given"])[0]
            raise ServiceError(f"PostgreSQL refuses: {reason}; what was begun is undone") from error


def _make_schema(connection: Any, reset: bool, quiet: bool) -> None:
    from rainbow.datasets.seeding import prepare
    from rainbow.source.tables import TABLES

    with connection.transaction():
        prepare(connection, reset=reset)
    terminal.console(quiet=quiet).print(f"{len(TABLES)} tables are there, empty: {', '.join(t.name for t in TABLES)}")


def _load(connection: Any, name: str, number: int, first: date | None, reset: bool, quiet: bool) -> None:
    from time import perf_counter

    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from rainbow import datasets

    began = perf_counter()
    errors = terminal.console(stderr=True, quiet=quiet, soft_wrap=False)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task(f"{name}: reading", total=None)
        shop = datasets.open_dataset(name, number)
        done = datasets.seed(
            connection,
            shop,
            start=first,
            reset=reset,
            on_table=lambda table, rows: progress.update(task, description=f"{name}: {table}, {rows:,} rows"),
        )
    _report(shop, done, first, perf_counter() - began, terminal.console(quiet=quiet))


def _report(shop: Dataset, done: Seeded, first: date | None, seconds: float, console: Console) -> None:
    from rich.table import Table

    table = Table("table", box=None, pad_edge=False)
    table.add_column("rows", justify="right")
    for name, rows in done.rows.items():
        table.add_row(name, f"{rows:,}")
    console.print(table)
    if first is None:
        sums = done.totals
        console.print(f"gross {sums.gross:,} {shop.currency}, discount {sums.discount:,}, net {sums.net:,}; equal to the data set: yes")
        console.print(f"lines of the data set: {shop.totals.lines:,}; in the shop: {sums.lines:,}; not taken: {len(shop.rejected)}")
        for rejected in shop.rejected:
            console.print(f"  line {rejected.line}: {rejected.reason}")
    else:
        console.print(f"the shop is as it was when {first} began: `rainbow replay --until {first}` lives through that day")
    console.print(f"{shop.caveat} Seeded in {seconds:.1f} s.")


def _day(text: str, option: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise DataError(f"{option} {text} is not a day: write it as 2017-11-23") from None
