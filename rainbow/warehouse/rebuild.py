"""Rebuild: models of the warehouse that the next transform makes anew from ``raw``, from a day on.

A request stands in ``staging.rebuilds`` until a transform has finished with it, so a rebuild that was cut short is taken up
again by whatever transforms next. Rows that differ are replaced in one MERGE a table, as on every other day.
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


def named(names: Sequence[str]) -> list[str]:
    """The models of these names, which may be asset names (``batch/total_sales``). Raises DataError for one that cannot be made anew."""
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
