"""A mirror and a batch made by hand over a real PostgreSQL, and what the unified views must show: the second opinion of the seam's tests.

An audit trigger records each change with its position and its transaction; ``Mirrored`` puts them into the mirror's tables as capture
and mirror would. ``Batch`` keeps what extracts would have seen and publishes the views that follow from it (``history.expected``).
Neither takes anything from the SQL under test.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import psycopg

from rainbow.olap.mirror.kept import after_insert, create_all
from rainbow.olap.published import DIMENSIONS, VIEWS
from rainbow.olap.serving import serve
from rainbow.olap.serving.mark import Mark
from rainbow.partitions.dates import start_of, start_of_next
from rainbow.source import reader
from rainbow.source.tables import BY_NAME, TABLES
from tests.integration.history import KEYS, MEMBERS, Observation, Row, expected
from tests.integration.history import VIEWS as VIEW_KEYS

Connection = psycopg.Connection[Any]

_AUDIT = """
create table if not exists audit (
    seq bigint generated always as identity, lsn bigint, txid bigint, at timestamptz, name text, before jsonb, after jsonb
);
create or replace function note_change() returns trigger language plpgsql as $$
begin
    insert into audit (lsn, txid, at, name, before, after) values (
        (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint, pg_current_xact_id()::text::bigint, clock_timestamp(), tg_table_name,
        case when tg_op <> 'INSERT' then to_jsonb(old) end, case when tg_op <> 'DELETE' then to_jsonb(new) end);
    return null;
end $$
"""

_TYPES = {"int64": "Int64", "string": "String"}
_SUMS = "sales_quantity Int64, total_sales_amount Decimal(31, 2), total_discount_amount Decimal(31, 2), net_sales_amount Decimal(31, 2)"
_COLUMNS = {
    "total_sales": "sales_date Date32, orders Int64",
    "day_of_week_with_most_sales": "sales_date Date32, day_of_week String",
    "top_sellers": "sales_date Date32, seller_id Int64, seller String",
    "top_products_by_category": "sales_date Date32, category_id Int64, category String, product_id Int64, product String",
    "payment_methods": "sales_date Date32, payment_id Int64, payment_method String, orders Int64",
    "customer_ranking": "sales_date Date32, customer_id Int64, customer String, orders Int64",
    "customer_order_total": "customer_id Int64, orders Int64",
}
_VERSION = "valid_from Date32, valid_to Date32, valid_from_at DateTime64(6, 'UTC'), valid_to_at DateTime64(6, 'UTC'), is_current Bool"


def watch(connection: Connection) -> None:
    """Record every change of the shop's tables from now on."""
    connection.execute(_AUDIT)
    for table in TABLES:
        connection.execute(
            f"create or replace trigger note_change after insert or update or delete on {table.name} for each row execute function note_change()"
        )


@dataclass
class Mirrored:
    """The mirror's tables in ClickHouse, fed from the audit."""

    shop: Connection
    client: Any
    done: set[int] = field(default_factory=set)
    products: list[tuple[int, datetime, tuple[int, int, int], int, int]] = field(default_factory=list)

    def begin(self, *, complete: bool = True) -> Mirrored:
        """The initial snapshot."""
        create_all(self.client, TABLES)
        with psycopg.connect(self.shop.info.dsn, password=self.shop.info.password, autocommit=True) as connection:
            seen = reader.begin_snapshot(connection)
            xmax = int(seen.text.split(":")[1])
            self.done = {seq for (seq,) in connection.execute("select seq from audit")}
            for table in TABLES:
                found = connection.execute(f"select {', '.join(table.column_names)} from {table.name}").fetchall()  # type: ignore[arg-type]
                self._insert(table.name, [(*row, seen.lsn, 0, xmax % 2**32, datetime.now(UTC), 1) for row in found])
        self.note(seen.lsn, xmax, complete=complete)
        return self

    def note(self, lsn: int, xmax: int, *, complete: bool) -> None:
        """What the mirror notes of its snapshot."""
        completed = datetime.now(UTC) if complete else None
        self.client.insert("mirror._snapshots", [(lsn, xmax % 2**32, completed)], column_names=["lsn", "txid", "completed_at"])
        serve(self.client)

    def catch_up(self) -> None:
        """Take in what was committed since."""
        columns = {t.name: ", ".join(f"(r).{c}" for c in t.column_names) for t in TABLES}
        with self.shop.transaction():
            for table in TABLES:
                found = self.shop.execute(
                    f"""select seq, lsn, txid, at, after is null, {columns[table.name]} from (
                        select *, jsonb_populate_record(null::{table.name}, coalesce(after, before)) as r
                        from audit where name = '{table.name}' and not seq = any(%s)) as a order by seq""",  # type: ignore[arg-type]
                    [list(self.done)],
                ).fetchall()
                self.done |= {row[0] for row in found}
                self._insert(table.name, [(*row[5:], row[1], int(row[4]), row[2] % 2**32, row[3], 0) for row in found])

    def _insert(self, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if name == "products":
            place = [BY_NAME[name].column_names.index(c) for c in ("id", "category_id", "seller_id", "updated_at")]
            for row in rows:
                key, category, seller, at = (row[i] for i in place)
                if not row[-4]:
                    self.products.append((key, at, (1, row[-5], 0), category, seller))
        if rows:
            own = ["_lsn", "_deleted", "_txid", "_committed_at", "_snapshot"]
            self.client.insert(f"mirror.{name}", rows, column_names=[*BY_NAME[name].column_names, *own])
        after_insert(self.client, name, [row[BY_NAME[name].column_names.index("id")] for row in rows])


@dataclass
class Batch:
    """What extracts saw, and the tables that a publish would make of it."""

    shop: Connection
    client: Any
    seen: list[Observation] = field(default_factory=list)
    runs: list[tuple[date, date]] = field(default_factory=list)
    last: reader.Snapshot | None = None
    snapshot: reader.Snapshot | None = None
    number: int = 0

    def extract(self, first: date, last: date | None = None) -> Batch:
        """A run's extract, by the rules of ``rainbow.lake.extract``."""
        last = last or first
        with psycopg.connect(self.shop.info.dsn, password=self.shop.info.password, autocommit=True) as connection:
            self.snapshot = reader.begin_snapshot(connection)
            self.number += 1
            horizon = start_of_next(max(last, *(run[1] for run in self.runs)) if self.runs else last)
            for table in TABLES:
                self._take(connection, table.name, table.column_names, start_of(first), start_of_next(last), horizon)
        self.runs.append((first, last))
        self.last = self.snapshot
        return self

    def _take(self, connection: Connection, name: str, columns: Sequence[str], begin: datetime, end: datetime, horizon: datetime) -> None:
        baseline = self.last is None and BY_NAME[name].kind == "dimension"
        live = f"select xmin::text::bigint, updated_at, {', '.join(columns)} from {name}"
        gone = f"select xmin::text::bigint, deleted_at, row_id from deletions where table_name = '{name}'"
        for query, deleted in ((live, False), (gone, True)):
            for xid, at, *values in connection.execute(query).fetchall():  # type: ignore[arg-type]
                in_partition = begin <= at < end or (baseline and not deleted and at < end)
                late = self.last is not None and at < horizon and not self._saw(xid)
                if in_partition or late:
                    row = (
                        dict(zip(columns, values, strict=True))
                        if not deleted
                        else dict.fromkeys(columns) | {"id": values[0], "updated_at": at}
                    )
                    self.seen.append(Observation(name, row["id"], at, self.number, at.date(), deleted, row))

    def _saw(self, xid: int) -> bool:
        assert self.last
        return (xid - self.last.xmin + 2**31) % 2**32 - 2**31 < 0

    def publish(self, *names: str) -> None:
        """Swap these tables, all when none is named."""
        from rainbow.olap.publish import unbroken

        assert self.snapshot
        first, whole = unbroken(self.runs)
        made = expected(self.seen, min(run[0] for run in self.runs))
        changed = reader.keys_changed_since(("orders", "orderdetails"), start_of_next(whole or first), 10_000)
        days = {
            fact["ordered_at"].date()
            for fact in made["fact_sales"]
            if fact["order_id"] in changed["orders"] or fact["order_detail_id"] in changed["orderdetails"]
        }
        comment = {
            "first_partition": first,
            "watermark_date": whole,
            "snapshot": self.snapshot.text,
            "snapshot_xmin": self.snapshot.xmin,
            "lsn": self.snapshot.lsn,
            "data_version": self.snapshot.text,
            "published_at": datetime.now(UTC),
            "changed_days": sorted(days),
        }
        self.client.command("create database if not exists batch")
        for name in names or (*DIMENSIONS, *VIEWS):
            self._put(name, made[name], orjson.dumps(comment).decode())
        serve(self.client)

    def _put(self, name: str, rows: list[Row], comment: str) -> None:
        if name in VIEWS:
            columns, order = f"{_COLUMNS[name]}, {_SUMS}", ", ".join(VIEW_KEYS[name])
        else:
            table = name.removeprefix("dim_")
            id_ = f"{KEYS[table]}_id"
            kinds = {c.name: c.type for c in BY_NAME[table].columns}
            own = ", ".join(
                f"{c} Nullable({'Int64' if kinds.get(c) in ('bigint', 'integer') else 'Decimal(18, 4)' if kinds.get(c, '').startswith('numeric') else 'String'})"
                for c in MEMBERS[table]
            )
            columns, order = f"{id_} Int64, {own}, {_VERSION}", f"{id_}, valid_from_at"
        self.client.command(
            f"create or replace table batch.{name}__incoming ({columns}) engine = MergeTree order by ({order}) comment '{comment}'"
        )
        if rows:
            listed = list(rows[0])
            self.client.insert(f"batch.{name}__incoming", [[row[c] for c in listed] for row in rows], column_names=listed)
        self.client.command(f"create table if not exists batch.{name} as batch.{name}__incoming")
        self.client.command(f"exchange tables batch.{name}__incoming and batch.{name}")
        self.client.command(f"drop table batch.{name}__incoming sync")


def truth(shop: Connection, versions: Iterable[tuple[int, datetime, Any, int, int]], first: date | None) -> dict[str, list[Row]]:
    """What each unified view must hold: the query on PostgreSQL, category and seller as of the sale from all versions that were seen."""
    placed: dict[int, list[tuple[datetime, Any, int, int]]] = defaultdict(list)
    for key, at, position, category, seller in versions:
        placed[key].append((at, position, category, seller))
    names = {
        t: dict(shop.execute(f"select id, name from {t}").fetchall())
        for t in ("categories", "sellers", "customers", "payments", "products")
    }  # type: ignore[arg-type]
    found = shop.execute(
        """select coalesce(o.created_at, l.created_at), l.order_id, l.product_id, coalesce(o.customer_id, -1), coalesce(o.payment_id, -1),
                  l.quantity, l.amount, l.discount from orderdetails l left join orders o on l.order_id = o.id"""
    ).fetchall()
    lines = []
    for moment, order, product, customer, payment, quantity, amount, discount in found:
        day = moment.astimezone(UTC).date()
        if first and day < first:
            continue
        listed = sorted(placed[product])
        # before its first moment it is what it was then; of several versions of one moment the last counts
        held = [one for one in listed if one[0] <= moment] or [one for one in listed if one[0] == listed[0][0]]
        category, seller = held[-1][2:] if held else (-1, -1)
        lines.append(
            {
                "sales_date": day,
                "order": order,
                "product_id": product,
                "category_id": category,
                "seller_id": seller,
                "customer_id": customer,
            }
            | {"payment_id": payment, "sums": (quantity, amount, discount, amount - discount)}
        )

    def grouped(*keys: str, orders: bool = False, **labels: tuple[str, str]) -> list[Row]:
        groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for line in lines:
            groups[tuple(line[k] for k in keys)].append(line)
        rows = []
        for key, members in groups.items():
            row = dict(zip(keys, key, strict=True))
            row |= {label: names[table].get(row[id_], "Unknown") for label, (table, id_) in labels.items()}
            row |= {"orders": len({m["order"] for m in members})} if orders else {}
            sums = [sum(values) for values in zip(*(m["sums"] for m in members), strict=True)]
            rows.append(
                row | dict(zip(("sales_quantity", "total_sales_amount", "total_discount_amount", "net_sales_amount"), sums, strict=True))
            )
        return rows

    return {
        "total_sales": grouped("sales_date", orders=True),
        "day_of_week_with_most_sales": [{**row, "day_of_week": f"{row['sales_date']:%A}"} for row in grouped("sales_date")],
        "top_sellers": grouped("sales_date", "seller_id", seller=("sellers", "seller_id")),
        "top_products_by_category": grouped(
            "sales_date", "category_id", "product_id", category=("categories", "category_id"), product=("products", "product_id")
        ),
        "payment_methods": grouped("sales_date", "payment_id", orders=True, payment_method=("payments", "payment_id")),
        "customer_ranking": grouped("sales_date", "customer_id", orders=True, customer=("customers", "customer_id")),
        "customer_order_total": grouped("customer_id", orders=True),
    }


def shown(client: Any, view: str) -> list[Row]:
    """The rows of a unified view."""
    result = client.query(f"select * from serving.{view}")
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


def in_order(rows: Iterable[Row]) -> list[list[tuple[str, Any]]]:
    """Rows that compare, whatever order they came in."""
    return sorted((sorted(row.items()) for row in rows), key=repr)


@dataclass
class Seam:
    """A shop with a mirror and a batch, and the proof that the views are right."""

    shop: Connection
    mirror: Mirrored
    batch: Batch

    def right(self) -> None:
        """Catch up, then hold each unified view against PostgreSQL."""
        self.mirror.catch_up()
        serve(self.mirror.client)
        versions = [*self.mirror.products] + [
            (o.key, o.at, (0, o.lsn, 0), o.values["category_id"], o.values["seller_id"])
            for o in self.batch.seen
            if o.table == "products" and not o.deleted
        ]
        published = self.mirror.client.query(
            "select comment from system.tables where database = 'batch' and name = 'total_sales'"
        ).result_rows
        first = Mark.of(orjson.loads(published[0][0])).first if published else None
        for view, wanted in truth(self.shop, versions, first).items():
            found = shown(self.mirror.client, view)
            assert in_order(found) == in_order(wanted), view

    def from_batch(self, view: str = "total_sales") -> set[date]:
        """Days that the view takes from the batch."""
        return days_from_batch(self.mirror.client, view)


def days_from_batch(client: Any, view: str) -> set[date]:
    """Days that a view takes from the batch: those that change when the batch's rows are spoilt."""
    before = {row["sales_date"]: row["sales_quantity"] for row in shown(client, view)}
    client.command(f"alter table batch.{view} update sales_quantity = sales_quantity + 1000000 where true settings mutations_sync = 1")
    after = {row["sales_date"]: row["sales_quantity"] for row in shown(client, view)}
    client.command(f"alter table batch.{view} update sales_quantity = sales_quantity - 1000000 where true settings mutations_sync = 1")
    return {day for day, quantity in after.items() if quantity != before[day]}


def next_day(day: date) -> date:
    """The day after."""
    return day + timedelta(days=1)
