"""Which form fits each view: what there is in ClickHouse, and whether the batch can be used beside the mirror."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import orjson

from rainbow.olap.mirror import kept, members
from rainbow.olap.published import DIMENSIONS, VIEWS
from rainbow.olap.serving.mark import Mark

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Form = Literal["batch", "mirror", "unified"]

# The comments of the tables of the databases ``batch``, ``mirror`` and ``serving``; under "batch columns" what columns tables have; under
# "settings" those of ClickHouse that matter here
There = dict[str, dict[str, str]]

_BY_DAY = {"use_skip_indexes_if_final": 1, "use_skip_indexes_if_final_exact_mode": 0}

# what the views read of the mirror
_MIRRORED = {"_snapshots", *kept.KEPT, *members.TABLES, "orders", "orders_history", "orderdetails", "products_history"}


@dataclass(frozen=True)
class Began:
    """Where the mirror's newest initial snapshot is: position and transaction; from that transaction on the mirror knows every change."""

    lsn: int
    txid: int


def look(clickhouse: Client) -> There:
    """What there is now."""
    found = clickhouse.query(
        "select database, name, comment from system.tables where database in ('batch', 'mirror', 'serving') union all "
        "select 'batch columns', table, arrayStringConcat(groupArray(name || ' ' || type), ', ') "
        "from (select table, name, type from system.columns where database = 'batch' order by table, position) group by table union all "
        f"select 'settings', name, value from system.settings where name in {tuple(_BY_DAY)}"
    ).result_rows
    there: There = {"batch": {}, "mirror": {}, "serving": {}, "batch columns": {}, "settings": {}}
    for database, name, about in found:
        there[database][name] = about
    return there


def forms_of(there: There, began: Began | None) -> dict[str, tuple[Form, Mark | None]]:
    """The form of each view that can show something, and the watermark of what is published of it."""
    batch = there["batch"]
    if began is None:
        return {view: ("batch", None) for view in VIEWS if view in batch}
    forms: dict[str, tuple[Form, Mark | None]] = {}
    for view in VIEWS:
        comment = batch.get(day_view(view))
        mark = Mark.of(orjson.loads(comment)) if comment else None
        usable = mark is not None and mark.changed_days is not None and mark.last >= mark.first and mark.sees_all_before(began.txid)
        forms[view] = "unified" if usable and has_dimensions(batch) else "mirror", mark
    return forms


def settings_by_day(there: There) -> str:
    """The settings by which FINAL goes by a day's index alone, of those that this ClickHouse knows.

    It may show an old version of a row whose newest is on another day, so it is for rows all of whose versions are on one day.
    """
    return "settings " + ", ".join(f"{name} = {_BY_DAY[name]}" for name in there["settings"]) if there["settings"] else ""


def day_view(view: str) -> str:
    """The view whose days it is made of: itself, but for the customers' total."""
    return "customer_ranking" if view == "customer_order_total" else view


def has_dimensions(batch: dict[str, str]) -> bool:
    """Whether all dimensions are published."""
    return batch.keys() >= set(DIMENSIONS)


def mirror_began(clickhouse: Client, there: There) -> Began | None:
    """Where the mirror began; None while it has not all of its newest initial snapshot."""
    if not there["mirror"].keys() >= _MIRRORED or any(there["mirror"][name] != kept.FILLED for name in kept.MARKED):
        return None
    newest = "select lsn, txid, completed_at is not null from mirror._snapshots final order by lsn desc limit 1"
    return next((Began(lsn, txid) for lsn, txid, complete in clickhouse.query(newest).result_rows if complete), None)
