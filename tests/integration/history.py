"""Small histories written by hand, and what the star schema must be for them, worked out in plain Python from DESIGN's rules.

A ``History`` puts observations straight into ``raw``, as load would, an extract at a time. ``expected`` takes nothing from the
SQL: it walks over the observations. So ``History.check`` holds every dimension, fact and batch view against a second opinion.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from rainbow.source.tables import BY_NAME
from rainbow.types import bigquery_type
from rainbow.warehouse.sql import rows
from rainbow.warehouse.transform import transform
from tests.integration.small_shop import BEFORE, DAY_1, DEFAULTS

if TYPE_CHECKING:
    from google.cloud import bigquery

Row = dict[str, Any]
END = datetime(2100, 1, 1, tzinfo=UTC)
START = datetime(1, 1, 1, tzinfo=UTC)
UNKNOWN, NONE = -1, -2

MEMBERS = {
    "customers": ("name",),
    "sellers": ("name",),
    "promotions": ("name", "coupon_type", "price_treatment"),
    "payments": ("name",),
    "products": (
        "name",
        "price",
        "rating_average",
        "review_count",
        "sold_count",
        "category_id",
        "category",
        "brand_id",
        "brand",
        "seller_id",
    ),
}
KEYS = {name: name.removesuffix("s") for name in MEMBERS}
ORDER = ("created_at", "customer_id", "payment_id")
LINE = ("created_at", "order_id", "product_id", "promotion_id", "quantity", "price", "amount", "discount")
SUMS = ("sales_quantity", "total_sales_amount", "total_discount_amount", "net_sales_amount")
VIEWS = {
    "total_sales": ("sales_date",),
    "day_of_week_with_most_sales": ("sales_date",),
    "top_sellers": ("sales_date", "seller_id"),
    "top_products_by_category": ("sales_date", "category_id", "product_id"),
    "payment_methods": ("sales_date", "payment_id"),
    "customer_ranking": ("sales_date", "customer_id"),
    "customer_order_total": ("customer_id",),
}


@dataclass(frozen=True)
class Observation:
    """What an extract saw of a row: its columns, or that it was deleted at ``at``."""

    table: str
    key: int
    at: datetime
    lsn: int
    partition: date
    deleted: bool
    values: Row

    @property
    def file(self) -> tuple[str, date, int]:
        """The lake's file that would hold it."""
        return self.table, self.partition, self.lsn


def observation(table: str, key: int, at: datetime, lsn: int = 0, *, deleted: bool = False, **values: Any) -> Observation:
    """An observation; columns that are not given are those of ``small_shop``, numerics may be text."""
    columns = {c.name: c.type for c in BY_NAME[table].columns}
    if deleted:
        return Observation(table, key, at, lsn, at.date(), True, dict.fromkeys(columns) | {"id": key, "updated_at": at})
    row = {"created_at": at, **dict.fromkeys(columns), **DEFAULTS[table], **values, "id": key, "updated_at": at}
    row = {"created_at": at} | {k: v for k, v in row.items() if not (k == "created_at" and v is None)}
    exact = {
        n: Decimal(v).quantize(Decimal(1).scaleb(-_scale(columns[n]))) if _scale(columns[n]) and v is not None else v
        for n, v in row.items()
    }
    return Observation(table, key, at, lsn, at.date(), False, exact)


def _scale(type_: str) -> int:
    return int(type_.rstrip(")").split(",")[1]) if type_.startswith("numeric") else 0


@dataclass
class History:
    """Observations as extracts saw them, in ``raw``; and the warehouse that transform makes of them."""

    client: bigquery.Client
    seen: list[Observation] = field(default_factory=list)
    first: date | None = None
    _waiting: list[Observation] = field(default_factory=list)
    _lsn: int = 0

    def see(self, table: str, key: int, at: datetime, *, deleted: bool = False, **values: Any) -> History:
        """The next extract sees a row."""
        self._waiting.append(observation(table, key, at, deleted=deleted, **values))
        return self

    def members(self, at: datetime) -> History:
        """The next extract sees member 1 of each dimension."""
        for table in ("brands", "categories", "sellers", "customers", "payments", "promotions", "products"):
            self.see(table, 1, at)
        return self

    def sale(self, key: int, at: datetime, **line: Any) -> History:
        """The next extract sees an order and its one line, both with this id."""
        return self.see("orders", key, at).see("orderdetails", key, at, order_id=key, **line)

    def load(self, first: date | None = None) -> History:
        """One extract with all that was seen, loaded; its first partition is ``first``, or the earliest day seen."""
        self._lsn += 100
        batch = [Observation(o.table, o.key, o.at, self._lsn, o.partition, o.deleted, o.values) for o in self._waiting]
        self._waiting = []
        days = [o.partition for o in batch] or [first or date(2024, 9, 1)]
        self.put(batch, first or min(days), max(*days, first or min(days)))
        return self

    def put(self, batch: Sequence[Observation], first: date, last: date) -> None:
        """Put observations into ``raw`` as one manifest."""
        self.seen += batch
        self.first = min(self.first or first, first)
        lsn = max((o.lsn for o in batch), default=self._lsn)
        name = f"{lsn:016x}-{last}-{len(self.seen)}"
        statements = [
            "insert into raw.lake_manifests (manifest, first_date, last_date, taken_at, is_partial, snapshot, snapshot_xmin, lsn, loaded_at) "
            f"values ('{name}', date '{first}', date '{last}', timestamp '{last}', false, '1:1:', 1, {lsn}, timestamp '{last}')"
        ]
        by_table: dict[str, list[Observation]] = defaultdict(list)
        for one in batch:
            by_table[one.table].append(one)
        for table, found in by_table.items():
            types = {
                "partition_date": "DATE",
                **{c.name: bigquery_type(c.type) for c in BY_NAME[table].columns},
                "_deleted": "BOOL",
                "_lsn": "INT64",
            }
            values = ", ".join(
                f"({', '.join(_literal(v, t) for v, t in zip([o.partition, *(o.values[c] for c in BY_NAME[table].column_names), o.deleted, o.lsn], types.values(), strict=True))})"
                for o in found
            )
            statements.append(f"insert into raw.{table} ({', '.join(types)}) values {values}")
        files: dict[tuple[str, date, int], int] = defaultdict(int)
        for one in batch:
            files[one.file] += 1
        if files:
            listed = ", ".join(f"('{name}', '{t}', date '{d}', {n}, '{t}/{d}/{n}', {count})" for (t, d, n), count in files.items())
            statements.append(f"insert into raw.lake_files (manifest, table_name, partition_date, lsn, path, file_rows) values {listed}")
        rows(self.client, ";\n".join(statements))

    def transform(self) -> History:
        """Bring the warehouse up to date."""
        transform(client=self.client)
        return self

    def run(self, first: date | None = None) -> History:
        """Load all that was seen, and transform it."""
        return self.load(first).transform()

    def again(self) -> History:
        """Let transform work everything out anew, from ``raw`` alone."""
        forget(self.client)
        return self.transform()

    def check(self) -> History:
        """Hold every table of the warehouse against what it must be."""
        assert warehouse(self.client) == expected(self.seen, self.first)
        return self

    def versions(self, table: str, key: int, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of a member's versions, in order."""
        dimension, id_ = f"dim_{table}", f"{KEYS[table]}_id"
        shown = ", ".join(columns)
        found = rows(self.client, f"select {shown} from warehouse.{dimension} where {id_} = {key} order by valid_from_at, valid_to_at")
        return [tuple(row.values()) for row in found]

    def at_sale(self, table: str, line: int, *columns: str) -> tuple[Any, ...]:
        """These columns of the version that the fact gives a line."""
        name = KEYS[table]
        shown = ", ".join(f"d.{c}" for c in columns)
        (found,) = rows(
            self.client,
            f"select {shown} from warehouse.fact_sales f join warehouse.dim_{table} d on f.{name}_key = d.{name}_key where order_detail_id = {line}",
        )
        return tuple(found.values())

    def view(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of a batch view, in the order of its key."""
        found = rows(self.client, f"select {', '.join(columns)} from warehouse.{name} order by {', '.join(VIEWS[name])}")
        return [tuple(row.values()) for row in found]


def _literal(value: Any, type_: str) -> str:
    if value is None:
        return f"cast(null as {type_})"
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, Decimal):
        return f"cast('{value}' as {type_})"
    if isinstance(value, datetime):
        return f"timestamp '{value:%Y-%m-%d %H:%M:%S.%f}+00'"
    if isinstance(value, date):
        return f"date '{value}'"
    return json.dumps(value, ensure_ascii=False)


def tables(client: bigquery.Client, *datasets: str) -> list[str]:
    """Names of all tables of datasets that transforms write, dataset included; not those that stay as long as the code does."""
    found = " union all ".join(
        f"select table_schema as dataset, table_name as name from {d}.INFORMATION_SCHEMA.TABLES where table_type = 'BASE TABLE'"
        for d in datasets
    )
    return [f"{row.dataset}.{row.name}" for row in rows(client, found) if row.name not in ("dim_dates", "model_versions")]


def forget(client: bigquery.Client, *datasets: str) -> None:
    """Empty what transforms have made; ``raw`` too if it is named."""
    rows(client, ";\n".join(f"truncate table {name}" for name in tables(client, *(datasets or ("staging", "warehouse")))))


def contents(client: bigquery.Client) -> dict[str, list[Row]]:
    """Every row of the dimensions, the fact and the batch views, keys included."""
    names = [*(f"dim_{name}" for name in MEMBERS), "fact_sales", *VIEWS]
    found = {name: [dict(row.items()) for row in rows(client, f"select * from warehouse.{name}")] for name in names}
    return {name: sorted(listed, key=lambda row: json.dumps(row, default=str, sort_keys=True)) for name, listed in found.items()}


def warehouse(client: bigquery.Client) -> dict[str, list[Row]]:
    """The warehouse's rows with each surrogate key replaced by the version it stands for, so that they compare with ``expected``."""
    made = contents(client)
    versions: dict[str, dict[int, Row]] = {}
    for table, columns in MEMBERS.items():
        key = f"{KEYS[table]}_key"
        versions[table] = {row[key]: row for row in made[f"dim_{table}"]}
        assert len(versions[table]) == len(made[f"dim_{table}"]), f"dim_{table} has a key twice"
        kept = (f"{KEYS[table]}_id", *columns, "valid_from", "valid_to", "valid_from_at", "valid_to_at", "is_current")
        made[f"dim_{table}"] = [{c: row[c] for c in kept} for row in made[f"dim_{table}"] if row[key] >= 0]
    for row in made["fact_sales"]:
        for table in MEMBERS:
            key = row.pop(f"{KEYS[table]}_key")
            row[table] = (
                key
                if key < 0
                else (versions[table][key][f"{KEYS[table]}_id"], versions[table][key]["valid_from_at"], versions[table][key]["valid_to_at"])
            )
    return {name: _ordered(listed) for name, listed in made.items()}


def _ordered(found: Iterable[Row]) -> list[Row]:
    return sorted((dict(sorted(row.items())) for row in found), key=lambda row: json.dumps(row, default=str))


def expected(seen: Sequence[Observation], first: date | None) -> dict[str, list[Row]]:
    """What the warehouse must hold, from the observations alone."""
    versions = {table: _versions(seen, table) for table in MEMBERS}
    facts = _facts(seen, versions)
    dims = {
        f"dim_{table}": [_as_row(table, version) for versions_of_member in found.values() for version in versions_of_member]
        for table, found in versions.items()
    }
    fact_rows = [{name: value for name, value in fact.items() if not name.startswith("_")} for fact in facts]
    made = {**dims, "fact_sales": fact_rows, **_views(seen, [f for f in facts if first and f["ordered_at"].date() >= first])}
    return {name: _ordered(listed) for name, listed in made.items()}


@dataclass(frozen=True)
class _Version:
    key: int
    content: tuple[Any, ...]
    begin: datetime
    end: datetime

    @property
    def identity(self) -> tuple[int, datetime, datetime]:
        return self.key, self.begin, self.end


def _as_row(table: str, version: _Version) -> Row:
    return {
        f"{KEYS[table]}_id": version.key,
        **dict(zip(MEMBERS[table], version.content, strict=True)),
        "valid_from": version.begin.date(),
        "valid_to": version.end.date(),
        "valid_from_at": version.begin,
        "valid_to_at": version.end,
        "is_current": version.end == END,
    }


def _by_key(seen: Iterable[Observation], table: str) -> dict[int, list[Observation]]:
    found: dict[int, list[Observation]] = defaultdict(list)
    for one in seen:
        if one.table == table:
            found[one.key].append(one)
    return found


def _in_time(found: Iterable[Observation]) -> list[Observation]:
    """Dimensions follow time; at one instant the extract's position decides, and a delete there comes before the row's return."""
    return sorted(found, key=lambda o: (o.at, o.lsn, not o.deleted, _content_order(o, MEMBERS.get(o.table, ("name",)))))


def _content_order(one: Observation, columns: Sequence[str]) -> list[tuple[bool, Any]]:
    """Where one extract has a row in two states at one instant: the order of its columns, NULL first."""
    return [(one.values[c] is not None, one.values[c]) for c in columns if c in one.values]


def _names(seen: Iterable[Observation], table: str) -> dict[int, list[tuple[datetime, str]]]:
    """Names of categories or brands and from when on each held; the first one known holds for the time before it."""
    found = {}
    for key, observed in _by_key(seen, table).items():
        by_instant = {o.at: o.values["name"] for o in _in_time(observed) if not o.deleted}
        listed = sorted(by_instant.items())
        if listed:
            found[key] = [(START, listed[0][1]), *listed[1:]]
    return found


def _versions(seen: Sequence[Observation], table: str) -> dict[int, list[_Version]]:
    categories, brands = _names(seen, "categories"), _names(seen, "brands")
    return {key: _walk(key, _events(observed, table, categories, brands)) for key, observed in _by_key(seen, table).items()}


Event = tuple[datetime, "tuple[Any, ...] | None"]


def _events(observed: Iterable[Observation], table: str, categories: dict[int, Any], brands: dict[int, Any]) -> list[Event]:
    """Instants at which a member may have become another, with its content from then on; None: deleted."""
    own = _without_repeats(_in_time(observed), table)
    found: list[Event] = []
    for number, one in enumerate(own):
        until = own[number + 1].at if number + 1 < len(own) else END
        if one.deleted:
            found.append((one.at, None))
            continue
        instants = {one.at}
        if table == "products":
            for listed in (categories.get(one.values["category_id"], []), brands.get(one.values["brand_id"], [])):
                instants |= {moment for moment, _ in listed if one.at < moment < until}
        found += [(moment, _content(one, table, moment, categories, brands)) for moment in sorted(instants)]
    return found


def _without_repeats(ordered: list[Observation], table: str) -> list[Observation]:
    """The same content at the same instant, seen again, is one event: the one seen last."""
    last = {(o.at, o.deleted, _content(o, table, o.at, {}, {})): n for n, o in enumerate(ordered)}
    return [o for n, o in enumerate(ordered) if n in last.values()]


def _content(one: Observation, table: str, moment: datetime, categories: dict[int, Any], brands: dict[int, Any]) -> tuple[Any, ...]:
    labels = {
        "category": _as_of(categories.get(one.values.get("category_id"), []), moment),
        "brand": _as_of(brands.get(one.values.get("brand_id"), []), moment),
    }
    return tuple(labels[c] if c in labels else one.values[c] for c in MEMBERS[table])


def _as_of(listed: list[tuple[datetime, str]], moment: datetime) -> str | None:
    held = [name for begin, name in listed if begin <= moment]
    return held[-1] if held else None


def _walk(key: int, events: list[Event]) -> list[_Version]:
    found: list[_Version] = []
    alive: tuple[datetime, tuple[Any, ...]] | None = None
    for moment, content in events:
        if alive and content == alive[1]:
            continue
        if alive:
            found.append(_Version(key, alive[1], alive[0], moment))
        alive = None if content is None else (moment, content)
    if alive:
        found.append(_Version(key, alive[1], alive[0], END))
    return found


def _last_seen(found: Iterable[Observation]) -> Observation | None:
    """Lines and orders follow the source: the row is what was seen of it last, whatever its clock; None when it was gone."""
    last = max(found, key=last_seen)
    return None if last.deleted else last


def last_seen(one: Observation) -> tuple[Any, ...]:
    """What orders the observations of a line or an order: the last one is the row."""
    return one.lsn, not one.deleted, one.at, _content_order(one, LINE if one.table == "orderdetails" else ORDER)


def _at_sale(versions: list[_Version], moment: datetime) -> _Version | None:
    """The version valid then; in a gap the last one before; before the first the first; None for a member never seen."""
    valid = [v for v in versions if v.begin <= moment < v.end]
    before = [v for v in versions if v.begin <= moment]
    return valid[-1] if valid else before[-1] if before else versions[0] if versions else None


def _facts(seen: Sequence[Observation], versions: dict[str, dict[int, list[_Version]]]) -> list[Row]:
    orders = {key: _last_seen(found) for key, found in _by_key(seen, "orders").items()}
    facts = []
    for key, found in _by_key(seen, "orderdetails").items():
        line = _last_seen(found)
        if line is None:
            continue
        order, values = orders.get(line.values["order_id"]), line.values
        moment = order.values["created_at"] if order else values["created_at"]
        ids = {
            "customers": order.values["customer_id"] if order else None,
            "payments": order.values["payment_id"] if order else None,
            "promotions": values["promotion_id"],
            "products": values["product_id"],
        }
        version = {table: _at_sale(versions[table].get(id_, []), moment) for table, id_ in ids.items()}
        product = version["products"]
        sold_by = product.content[MEMBERS["products"].index("seller_id")] if product else None
        version["sellers"] = _at_sale(versions["sellers"].get(sold_by, []), moment)
        pieces = max(values["quantity"], 1)
        discount = (values["discount"] / pieces).quantize(Decimal("0.0001"), ROUND_HALF_UP)
        facts.append(
            {
                "order_detail_id": key,
                "order_id": values["order_id"],
                "date_key": int(f"{moment:%Y%m%d}"),
                **{table: found.identity if found else UNKNOWN for table, found in version.items()},
                **({"promotions": NONE} if values["promotion_id"] is None else {}),
                "ordered_at": moment,
                "sales_quantity": values["quantity"],
                "regular_unit_price": values["price"],
                "discount_unit_price": discount,
                "net_unit_price": values["price"] - discount,
                "extended_sales_amount": values["amount"],
                "extended_discount_amount": values["discount"],
                "net_sales_amount": values["amount"] - values["discount"],
                "_ids": {
                    "product_id": product.key if product else UNKNOWN,
                    "category_id": product.content[MEMBERS["products"].index("category_id")] if product else UNKNOWN,
                    "seller_id": sold_by if sold_by is not None else UNKNOWN,
                    "customer_id": version["customers"].key if version["customers"] else UNKNOWN,
                    "payment_id": version["payments"].key if version["payments"] else UNKNOWN,
                },
            }
        )
    return facts


def _views(seen: Sequence[Observation], facts: list[Row]) -> dict[str, list[Row]]:
    """A direct grouping of the fact's rows; labels are the names of now."""
    name_now = {
        table: {
            key: live[-1].values["name"]
            for key, found in _by_key(seen, table).items()
            if (live := [o for o in _in_time(found) if not o.deleted])
        }
        for table in ("customers", "sellers", "payments", "products", "categories")
    }

    def grouped(*ids: str, orders: bool = False, **labels: tuple[str, str]) -> list[Row]:
        groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for fact in facts:
            groups[(fact["ordered_at"].date(), *(fact["_ids"][i] for i in ids))].append(fact)
        found = []
        for key, members in groups.items():
            row = dict(zip(("sales_date", *ids), key, strict=True))
            row |= {label: name_now[table].get(row[id_], "Unknown") for label, (table, id_) in labels.items()}
            row |= {"orders": len({m["order_id"] for m in members})} if orders else {}
            found.append(row | _sums(members, ("sales_quantity", "extended_sales_amount", "extended_discount_amount", "net_sales_amount")))
        return found

    ranking = grouped("customer_id", orders=True, customer=("customers", "customer_id"))
    totals: dict[int, list[Row]] = defaultdict(list)
    for row in ranking:
        totals[row["customer_id"]].append(row)
    return {
        "total_sales": grouped(orders=True),
        "day_of_week_with_most_sales": [{**row, "day_of_week": f"{row['sales_date']:%A}"} for row in grouped()],
        "top_sellers": grouped("seller_id", seller=("sellers", "seller_id")),
        "top_products_by_category": grouped(
            "category_id", "product_id", category=("categories", "category_id"), product=("products", "product_id")
        ),
        "payment_methods": grouped("payment_id", orders=True, payment_method=("payments", "payment_id")),
        "customer_ranking": ranking,
        "customer_order_total": [
            {"customer_id": key, "orders": sum(m["orders"] for m in members), **_sums(members, SUMS)} for key, members in totals.items()
        ],
    }


def _sums(members: Sequence[Row], columns: Sequence[str]) -> Row:
    return {name: sum(member[column] for member in members) for name, column in zip(SUMS, columns, strict=True)}


Steps = Iterator[None]

IDS, DAYS = 1000, 20
EACH_ID = ("order_detail_id", "order_id", "product_id", "customer_id", "seller_id", "promotion_id", "payment_id", "category_id", "brand_id")


class Story:
    """One history among several that share a warehouse: ids and days are its own, and it reads and writes them as if it were alone."""

    def __init__(self, history: History, number: int) -> None:
        self.client, self._history = history.client, history
        self.ids, self.shift = number * IDS, timedelta(days=number * DAYS)

    def see(self, table: str, key: int, at: datetime, *, deleted: bool = False, **values: Any) -> Story:
        """The next extract sees a row."""
        references = {c.name for c in BY_NAME[table].columns if c.references}
        given = {name: value for name, value in DEFAULTS[table].items() if name in references} | values
        moved = {name: value + self.ids if name in references and value is not None else value for name, value in given.items()}
        if "created_at" in moved:
            moved["created_at"] += self.shift
        self._history.see(table, key + self.ids, at + self.shift, deleted=deleted, **({} if deleted else moved))
        return self

    def members(self, at: datetime) -> Story:
        """The next extract sees member 1 of each dimension."""
        for table in ("brands", "categories", "sellers", "customers", "payments", "promotions", "products"):
            self.see(table, 1, at)
        return self

    def sale(self, key: int, at: datetime, **line: Any) -> Story:
        """The next extract sees an order and its one line, both with this id."""
        return self.see("orders", key, at).see("orderdetails", key, at, order_id=key, **line)

    def versions(self, table: str, key: int, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of a member's versions, in order."""
        return self._own(columns, self._history.versions(table, key + self.ids, *columns))

    def at_sale(self, table: str, line: int, *columns: str) -> tuple[Any, ...]:
        """These columns of the version that the fact gives a line."""
        return self._own(columns, [self._history.at_sale(table, line + self.ids, *columns)])[0]

    def lines(self, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of the fact, a row a line."""
        mine = f"order_detail_id >= {self.ids} and order_detail_id < {self.ids + IDS} order by order_detail_id"
        found = rows(self.client, f"select {', '.join(columns)} from warehouse.fact_sales where {mine}")
        return self._own(columns, [tuple(row.values()) for row in found])

    def view(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        """These columns of a batch view, in the order of its key."""
        needed = tuple(dict.fromkeys((*columns, *VIEWS[name])))
        found = [dict(zip(needed, row, strict=True)) for row in self._history.view(name, *needed)]
        return self._own(columns, [tuple(row[c] for c in columns) for row in found if self.owns(row)])

    def contents(self) -> dict[str, list[Row]]:
        """Every row of the warehouse that is this story's."""
        return {name: [row for row in listed if self.owns(row)] for name, listed in contents(self.client).items()}

    def owns(self, row: Row) -> bool:
        """Whether a row of the warehouse is this story's: by its day in the views, else by its ids."""
        if "sales_date" in row:
            return DAY_1 + self.shift <= row["sales_date"] < DAY_1 + self.shift + timedelta(days=DAYS)
        return any(self.ids <= row[name] < self.ids + IDS for name in EACH_ID if isinstance(row.get(name), int))

    def _own(self, columns: Sequence[str], found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return [tuple(self._as_if_alone(c, value) for c, value in zip(columns, row, strict=True)) for row in found]

    def _as_if_alone(self, column: str, value: Any) -> Any:
        if isinstance(value, date) and value.year < END.year:
            return value - self.shift
        return value - self.ids if column in EACH_ID and isinstance(value, int) and value > 0 else value


@dataclass
class Told:
    """What became of stories told in step: why one failed, by its name, and rows at fault that are no story's."""

    failed: dict[str, BaseException]
    unclaimed: list[str]

    def of(self, steps: Callable[[Story], Steps]) -> None:
        """Raise what a story failed with."""
        if steps.__name__ in self.failed:
            raise self.failed[steps.__name__]


def tell(client: bigquery.Client, listed: Sequence[Callable[[Story], Steps]]) -> Told:
    """Tell stories in step, in a warehouse that is emptied first; after each step hold every row against what it must be."""
    forget(client, "raw", "staging", "warehouse")
    history = History(client)
    told = Told({}, [])
    stories = {steps.__name__: Story(history, number) for number, steps in enumerate(listed, start=1)}
    going = {steps.__name__: steps(stories[steps.__name__]) for steps in listed}
    while going:
        for name, steps in list(going.items()):
            try:
                next(steps)
            except BaseException as end:
                del going[name]
                if not isinstance(end, StopIteration):
                    told.failed[name] = end
        if going:
            history.run(BEFORE.date())
            for table, verdict, row in _differences(warehouse(client), expected(history.seen, history.first)):
                line = f"{table} {verdict} {row}"
                owners = [name for name, one in stories.items() if one.owns(row)]
                for name in owners:
                    told.failed.setdefault(name, AssertionError(line))
                if not owners:
                    told.unclaimed.append(line)
    return told


def _differences(found: dict[str, list[Row]], wanted: dict[str, list[Row]]) -> Iterator[tuple[str, str, Row]]:
    for name, listed in wanted.items():
        yield from ((name, "lacks", row) for row in listed if row not in found[name])
        yield from ((name, "should not have", row) for row in found[name] if row not in listed)
