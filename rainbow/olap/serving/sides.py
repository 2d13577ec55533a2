"""Which side each day of a unified view comes from, the batch view or the mirror; as the view's own text decides it when it is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Literal

from rainbow.olap.serving.forms import Form, day_view, forms_of, look, mirror_began

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

Side = Literal["batch", "mirror"]


@dataclass(frozen=True)
class Sides:
    """The sides of a view's days: the batch has those from ``first`` to ``last``, but for ``touched``, which something beyond the
    watermark has changed. ``last`` is None where nothing of the batch is used, ``first``, too, where nothing is published.
    """

    form: Form
    first: date | None = None
    last: date | None = None
    touched: frozenset[date] = frozenset()

    def of(self, day: date) -> Side | None:
        """The side that the day is taken from; None for a day before the first partition, which the view does not have."""
        if self.form == "batch":
            return "batch"
        if self.first and day < self.first:
            return None
        return "batch" if self.last and day <= self.last and day not in self.touched else "mirror"


def sides(clickhouse: Client, views: Iterable[str]) -> dict[str, Sides]:
    """The sides of each of these views that can show something."""
    there = look(clickhouse)
    forms = forms_of(there, mirror_began(clickhouse, there))
    found = {}
    for view in views:
        if view not in forms:
            continue
        form, mark = forms[view]
        if mark is None or form == "batch":
            found[view] = Sides(form)
        elif form == "mirror":
            found[view] = Sides(form, mark.first)
        else:
            touched = clickhouse.query(f"select day from serving._touched_{day_view(view)}").result_columns
            found[view] = Sides(form, mark.first, mark.last, frozenset(touched[0] if touched else ()))
    return found
