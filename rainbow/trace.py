"""Trace: where a day's figures come from, place by place, from the source to what a chart shows.

At each place the same is asked, how many orders and lines the day has and what they come to, with a query that anyone can send
again (`rainbow query`). What differs from the place before is named, and whether the unified view takes the day from the batch or
from the mirror. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
from pyarrow.dataset import dataset

from rainbow.errors import RainbowError
from rainbow.lake.files import Lake
from rainbow.lake.read import connect as connect_duckdb
from rainbow.lake.read import scan
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.olap.published import OVER_ALL_DAYS, SUMS, VIEWS
from rainbow.olap.serving.sides import Side, Sides, sides
from rainbow.query import Store, query
from rainbow.settings import settings
from rainbow.source.tables import BY_NAME

TRACED = tuple(view for view in VIEWS if view not in OVER_ALL_DAYS)

COUNTS = ("orders", "lines")

# the lake's and raw's newest version of an order and of a line, as staging takes it; a version of the day lies in its partition or in a later one
_NEWEST = """
with seen_orders as (
    select id, created_at, _deleted
    from {orders}
    where partition_date >= {day}
    qualify row_number() over (partition by id order by _lsn desc, _deleted, updated_at desc, created_at desc) = 1
),

seen_lines as (
    select *
    from {orderdetails}
    where partition_date >= {day}
    qualify row_number() over (partition by id order by _lsn desc, _deleted, updated_at desc, created_at desc, order_id desc) = 1
)

select
    count(distinct l.order_id) as orders,
    count(*) as `lines`,
    coalesce(sum(l.quantity), 0) as sales_quantity,
    coalesce(sum(l.amount), 0) as total_sales_amount,
    coalesce(sum(l.discount), 0) as total_discount_amount,
    coalesce(sum(l.amount - l.discount), 0) as net_sales_amount
from seen_lines as l
left join seen_orders as o on l.order_id = o.id and not o._deleted
where not l._deleted and {sold_on} = {day}
"""

_SOURCE = """
select
    count(distinct l.order_id) as orders,
    count(*) as lines,
    coalesce(sum(l.quantity), 0) as sales_quantity,
    coalesce(sum(l.amount), 0) as total_sales_amount,
    coalesce(sum(l.discount), 0) as total_discount_amount,
    coalesce(sum(l.amount - l.discount), 0) as net_sales_amount
from orders as o
inner join orderdetails as l on l.order_id = o.id
where o.created_at >= timestamp {day} at time zone 'UTC' and o.created_at < (timestamp {day} + interval '1 day') at time zone 'UTC'
"""

_FACT = """
select
    count(distinct order_id) as orders,
    count(*) as `lines`,
    coalesce(sum(sales_quantity), 0) as sales_quantity,
    coalesce(sum(extended_sales_amount), 0) as total_sales_amount,
    coalesce(sum(extended_discount_amount), 0) as total_discount_amount,
    coalesce(sum(net_sales_amount), 0) as net_sales_amount
from warehouse.fact_sales
where ordered_at >= timestamp({day}) and ordered_at < timestamp(date_add({day}, interval 1 day))
"""

_VIEW = """
select
    {orders}
    coalesce(sum(sales_quantity), 0) as sales_quantity,
    coalesce(sum(total_sales_amount), 0) as total_sales_amount,
    coalesce(sum(total_discount_amount), 0) as total_discount_amount,
    coalesce(sum(net_sales_amount), 0) as net_sales_amount
from {relation}
where sales_date = {day}
"""

Asked = tuple[str, Store, str]

# where a view stands, in the order that figures pass, and who is asked there
_STORES: dict[str, Store] = {"warehouse": "warehouse", "batch": "olap", "serving": "olap"}

# views that count orders in a way that adds up over their rows: an order has one customer and one payment
_COUNTING = ("total_sales", "payment_methods", "customer_ranking")


@dataclass(frozen=True)
class Place:
    """A place that a day's figures pass: what they are there (None where it cannot be asked, ``fault`` says why), and the query."""

    name: str
    store: Store
    sql: str
    figures: Mapping[str, int | Decimal] | None
    fault: str = ""

    def differs_from(self, other: Place) -> list[str]:
        """The names of the figures that both have and that are not the same."""
        if self.figures is None or other.figures is None:
            return []
        return [name for name in self.figures if name in other.figures and self.figures[name] != other.figures[name]]


@dataclass(frozen=True)
class Trace:
    """The places of a view's day in the order that figures pass them; the last is what charts read.

    ``lake_files`` are those of the day's partition with how many versions of orders and lines each holds; ``notebooks`` are the
    executed ones of the partition, the oldest first; ``sides`` says where the unified view takes its days from, None if it cannot be asked.
    """

    view: str
    day: date
    places: Sequence[Place]
    lake_files: Mapping[str, int]
    notebooks: Sequence[Path]
    sides: Sides | None = None

    @property
    def side(self) -> Side | None:
        """Where the unified view takes the day from."""
        return self.sides.of(self.day) if self.sides else None

    @property
    def first_difference(self) -> tuple[Place, Place] | None:
        """The first two neighbours that do not say the same, among the places that could be asked."""
        asked = [place for place in self.places if place.figures is not None]
        return next(((one, other) for one, other in pairwise(asked) if other.differs_from(one)), None)

    def as_json(self) -> str:
        """All of it as JSON; amounts as text."""
        found = {
            "view": self.view,
            "day": self.day,
            "side": self.side,
            "places": [asdict(place) for place in self.places],
            "first_difference": [place.name for place in self.first_difference] if self.first_difference else None,
            "lake_files": self.lake_files,
            "notebooks": self.notebooks,
        }
        return orjson.dumps(found, default=str).decode()


def trace(day: date, views: Sequence[str] = ("total_sales",)) -> list[Trace]:
    """Ask each place for a day, all at the same time, once for what several views share.

    Raises RainbowError for a view that has no days or does not exist.
    """
    for view in views:
        if view not in TRACED:
            close = get_close_matches(view, TRACED, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(TRACED)}"
            raise RainbowError(f"there is no view {view} with days to trace: {hint}")
    shared: list[Asked] = [
        ("source", "source", _SOURCE.format(day=f"'{day}'")),
        ("lake", "lake", _in_lake(day)),
        ("raw", "warehouse", _in_raw(day)),
        ("fact_sales", "warehouse", _FACT.format(day=f"date '{day}'")),
    ]
    with ThreadPoolExecutor(len(shared) + len(_STORES) + 1) as pool:
        common = [pool.submit(_ask, *asked, day) for asked in shared]
        own = [pool.submit(_ask_views, views, database, day) for database in _STORES]
        taken = pool.submit(_sides, views)
        before, after = [one.result() for one in common], [one.result() for one in own]
    files, notebooks = _lake_files(day), _notebooks(day)
    return [Trace(view, day, [*before, *(places[view] for places in after)], files, notebooks, taken.result().get(view)) for view in views]


def _sides(views: Sequence[str]) -> dict[str, Sides]:
    """Where each view's days come from; empty when ClickHouse cannot be asked."""
    from clickhouse_connect.driver.exceptions import ClickHouseError

    try:
        with connect_clickhouse() as client:
            return sides(client, views)
    except (RainbowError, ClickHouseError):
        return {}


def _ask_views(views: Sequence[str], database: str, day: date) -> dict[str, Place]:
    """What the views of one database say, asked at once; one by one where one of them cannot be read."""
    store = _STORES[database]
    asked = {view: _of_view(view, database, day) for view in views}
    together = "\nunion all\n".join(
        f"select '{view}' as view, {', '.join(SUMS)}, {'orders' if view in _COUNTING else '0 as orders'} from ({sql}) as {view}"
        for view, (_, _, sql) in asked.items()
    )
    try:
        found = {row["view"]: row for row in (_warehouse(together, day) if store == "warehouse" else _answered(store, together))}
    except RainbowError:
        return {view: _ask(*one, day) for view, one in asked.items()}
    columns = {view: (*(("orders",) if view in _COUNTING else ()), *SUMS) for view in views}
    return {view: Place(name, store, sql.strip(), _figures(found[view], columns[view])) for view, (name, _, sql) in asked.items()}


def _of_view(view: str, database: str, day: date) -> Asked:
    store = _STORES[database]
    orders = "coalesce(sum(orders), 0) as orders," if view in _COUNTING else ""
    written = f"date '{day}'" if store == "warehouse" else f"toDate32('{day}')"
    return f"{database}.{view}", store, _VIEW.format(orders=orders, relation=f"{database}.{view}", day=written).replace("\n    \n", "\n")


def _in_lake(day: date) -> str:
    text = _NEWEST.format(
        orders="orders", orderdetails="orderdetails", day=f"date '{day}'", sold_on="cast(coalesce(o.created_at, l.created_at) as date)"
    )
    return text.replace("`", "")


def _in_raw(day: date) -> str:
    return _NEWEST.format(
        orders="raw.orders",
        orderdetails="raw.orderdetails",
        day=f"date '{day}'",
        sold_on="extract(date from coalesce(o.created_at, l.created_at))",
    )


def _ask(name: str, store: Store, sql: str, day: date) -> Place:
    try:
        if store == "lake":
            found = _lake(sql, day)
        else:
            (found,) = _warehouse(sql, day) if store == "warehouse" else _answered(store, sql)
    except RainbowError as error:
        return Place(name, store, sql.strip(), None, str(error))
    return Place(name, store, sql.strip(), _figures(found, [key for key in (*COUNTS, *SUMS) if key in found]))


def _answered(store: Store, sql: str) -> list[Mapping[str, Any]]:
    answer = query(store, sql)
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def _warehouse(sql: str, day: date) -> list[Mapping[str, Any]]:
    """The same with the day as a parameter: BigQuery and its stand-in know a text again that they have seen."""
    from google.cloud import bigquery

    from rainbow.warehouse.client import connect
    from rainbow.warehouse.sql import rows

    asked = rows(connect(), sql.replace(f"date '{day}'", "@day"), [bigquery.ScalarQueryParameter("day", "DATE", day)])
    return [dict(found.items()) for found in asked]


def _lake(sql: str, day: date) -> Mapping[str, Any]:
    """The same over the files of the day's partition and of later ones alone, so that it costs nothing by what came before."""
    lake = Lake()
    with connect_duckdb(lake) as connection:
        for name in ("orders", "orderdetails"):
            paths = [lake.address(path) for path in _paths(lake, name, day)]
            relation = scan(connection, BY_NAME[name], repr(paths)) if paths else f"(from declared_{name})"
            if not paths:
                scan(connection, BY_NAME[name], "''")
            connection.execute(f"create view {name} as from {relation}")
        cursor = connection.execute(sql)
        columns = [column[0] for column in cursor.description or []]
        return dict(zip(columns, cursor.fetchall()[0], strict=True))


def _paths(lake: Lake, table: str, day: date) -> list[str]:
    """Relative paths of a table's files from the day's partition on."""
    found = lake.fs.glob(lake.full(f"{table}/partition_date=*/*.parquet"))
    relative = (path.removeprefix(f"{lake.root}/") for path in map(str, found))
    return sorted(path for path in relative if path.split("partition_date=")[1][:10] >= day.isoformat())


def _lake_files(day: date) -> dict[str, int]:
    lake = Lake()
    paths = [path for table in ("orders", "orderdetails") for path in lake.partition(table, day)]
    return {path: dataset(lake.full(path), filesystem=lake.fs, format="parquet").count_rows() for path in paths}


def _notebooks(day: date) -> list[Path]:
    folder = settings().reports_dir / day.isoformat()
    return sorted(folder.glob("*.ipynb"), key=lambda path: (path.stat().st_mtime, path.name))


def _figures(found: Mapping[str, Any], names: Sequence[str]) -> dict[str, int | Decimal]:
    return {name: _number(found[name]) for name in names}


def _number(value: Any) -> int | Decimal:
    number = Decimal(str(value))
    return int(number) if number == number.to_integral_value() and not isinstance(value, Decimal) else number
