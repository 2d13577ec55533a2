"""Rebuild: models of the warehouse that the next transform makes anew from ``raw``, from a day on.

A request stands in ``staging.rebuilds`` until a transform has finished with it, so a rebuild that was cut short is taken up
again by whatever transforms next. Rows that differ are replaced in one MERGE a table, as on every other day; only rows that no
MERGE can tell apart, since a key stands there twice or not at all, are removed before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rainbow.errors import DataError
from rainbow.warehouse import project
from rainbow.warehouse.sql import rows

if TYPE_CHECKING:
    from google.cloud import bigquery

# before every partition
BEGINNING = date(1, 1, 1)


def request(client: bigquery.Client, models: Sequence[str], start: date | None = None) -> None:
    """Ask for models to be made anew, from the partition ``start`` on, or all of them; ``transform`` must have run once."""
    if models:
        now = time.time_ns() // 1000
        values = ", ".join(f"('{name}', date '{start or BEGINNING}', {now})" for name in models)
        rows(client, f"insert into staging.rebuilds (model, from_date, requested) values {values}")


def unfinished(client: bigquery.Client) -> dict[str, date]:
    """Models that a request wants anew and no finished transform has made, and from which day on."""
    found = rows(
        client,
        """select r.model, min(r.from_date) as from_date
           from staging.rebuilds as r
           left join staging.transformed_files as d
               on d.table_name = concat('(rebuild) ', r.model) and r.from_date = d.partition_date and r.requested = d.lsn
           where d.lsn is null
           group by r.model""",
    )
    return {row.model: row.from_date for row in found}


def finished(client: bigquery.Client) -> list[str]:
    """Each request that a transform has finished, in words that tell it from the others; a transform must have run."""
    found = rows(
        client,
        """select table_name, partition_date, lsn from staging.transformed_files
           where starts_with(table_name, '(rebuild) ') order by table_name, partition_date, lsn""",
    )
    return [f"{row.table_name} {row.partition_date} {row.lsn}" for row in found]


def clear(client: bigquery.Client, statements: Sequence[project.Statement]) -> None:
    """Make tables of models that are to be made anew fit for MERGE: without rows whose key is another row's too, or lacking.

    Such a model is then made anew from the beginning, since what is removed may lie before the day that was asked for.
    """
    wanted, models = unfinished(client), project.models()
    for statement in statements if wanted else ():
        model = "fact_sales" if statement.name == "sales_lines" else statement.name
        if statement.kind == "model" and statement.key and model in wanted:
            table = f"{'staging' if models[statement.name].folder == 'staging' else 'warehouse'}.{statement.name}"
            keys = ", ".join(statement.key)
            twice = f"select {keys} from {table} group by {keys} having count(*) > 1"
            lacking = " or ".join(f"t.{key} is null" for key in statement.key)
            same = " and ".join(f"t.{key} = twice.{key}" for key in statement.key)
            unfit = f"{lacking} or exists (select 1 from ({twice}) as twice where {same})"
            (row,) = rows(client, f"select count(*) as n from {table} as t where {unfit}")
            if row.n:
                request(client, [model])
                rows(client, f"delete from {table} as t where {unfit}")


def named(names: Sequence[str]) -> list[str]:
    """The models of these names, which may be asset names (``batch/total_sales``). Raises DataError for one that cannot be made anew."""
    if not project.has_run():
        raise DataError("the warehouse has not been made yet: run a partition with `rainbow run D`")
    known = list(project.versions())
    found = []
    for name in names:
        model = name.removeprefix("batch/")
        if model not in known:
            close = get_close_matches(model, known, 1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise DataError(f"there is no model {name} that can be made anew: {hint}")
        found.append(model)
    return found
