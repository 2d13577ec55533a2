"""A dashboard of one's own: a query of the serving views, and its rows as a sentence, a chart or a table in the one visual language.

What ``rainbow new dashboard`` makes calls these. Text of the rows is text, numbers are exact in what is read and rounded in labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from rainbow.charts import formats, serving, shapes
from rainbow.charts.elements import Chart, Column, Fragment, answer, empty, table
from rainbow.charts.serving import Scope
from rainbow.charts.shapes import ACCENT, BASE
from rainbow.errors import DataError

Rows = Sequence[Mapping[str, Any]]
Unit = Literal["number", "money"]


@dataclass(frozen=True)
class Own:
    """A dashboard about the days up to a partition's; a notebook asks with ``query`` and shows the rows with the other methods."""

    scope: Scope

    @property
    def day(self) -> date:
        """The partition's day."""
        return self.scope.partition_date

    def query(self, sql: str, **values: Any) -> list[serving.Row]:
        """The rows of a query of ClickHouse; ``{day:Date32}`` in it is the partition's day, and so for other ``values`` by name."""
        return serving.query(sql, {"day": self.day, **values})

    def answer(self, sentence: str, *parts: object) -> Fragment:
        """The sentence that says what the dashboard found; each ``{}`` takes the next part, the first is set off."""
        return answer(sentence, about=self.scope.about(), parts=[self._text(part) for part in parts])

    def days(self, rows: Rows, *, value: str, title: str, day: str = "sales_date", unit: Unit = "number") -> Chart | Fragment:
        """A column a day. A day without a row is drawn as none."""
        if not rows:
            return self._nothing(title)
        _need(rows, day, value)
        drawn = [
            {
                "date": str(row[day]),
                "value": float(row[value] or 0),
                "role": ACCENT if row[day] == self.day else BASE,
                "day": formats.long_date(row[day]),
                "shown": self._exact(row[value], unit),
            }
            for row in rows
        ]
        highest = max(rows, key=lambda row: row[value] or 0)
        alt = f"{title}: {len(rows)} days, the highest {formats.compact(highest[value])} on {formats.long_date(highest[day])}."
        spec = shapes.days(drawn, complete_to=[], tooltip=(("day", "Day"), ("shown", title)))
        return Chart(spec, title, alt, note="drag over days for their sum")

    def ranking(self, rows: Rows, *, name: str, value: str, title: str, unit: Unit = "number") -> Chart | Fragment:
        """A bar a row, in the order of the rows."""
        if not rows:
            return self._nothing(title)
        _need(rows, name, value)
        drawn = [
            {
                "rank": rank,
                "name": formats.plain(row[name]),
                "value": float(row[value] or 0),
                "role": ACCENT if rank == 1 else BASE,
                "label": self.scope.short(row[value]) if unit == "money" else formats.compact(row[value]),
                "shown": self._exact(row[value], unit),
            }
            for rank, row in enumerate(rows, start=1)
        ]
        alt = f"{title}: " + ", ".join(f"{row['name']} {row['label']}" for row in drawn[:5]) + "."
        return Chart(shapes.ranking(drawn, tooltip=(("name", "Name"), ("shown", title))), title, alt)

    def table(self, rows: Rows, *, caption: str) -> Fragment:
        """All rows and columns."""
        if not rows:
            return self._nothing(caption)
        shown = [{name: formats.short_date(found) if isinstance(found, date) else found for name, found in row.items()} for row in rows]
        columns = [Column(name, name.replace("_", " ").capitalize(), _kind(name, rows)) for name in rows[0]]
        return table(shown, columns, caption=caption, currency=self.scope.currency)

    def _nothing(self, title: str) -> Fragment:
        return empty(f"{title}: nothing up to {formats.short_date(self.day)}.")

    def _text(self, part: object) -> str:
        if isinstance(part, date):
            return formats.long_date(part)
        return formats.compact(part) if isinstance(part, int | Decimal) else formats.plain(part)

    def _exact(self, value: Any, unit: Unit) -> str:
        return self.scope.money(value) if unit == "money" and value is not None else formats.exact(_number(value))


def own(partition_date: date | str | None = None) -> Own:
    """A dashboard about the days up to ``partition_date`` (None: the last complete partition)."""
    return Own(serving.scope("total_sales", partition_date))


def _need(rows: Rows, *columns: str) -> None:
    for column in columns:
        if column not in rows[0]:
            raise DataError(f"the rows have no column {column}: they have {', '.join(rows[0])}")


def _number(value: Any) -> Any:
    return Decimal(str(value)) if isinstance(value, float) else value


def _kind(name: str, rows: Rows) -> Any:
    found = next((row[name] for row in rows if row[name] is not None), None)
    if isinstance(found, bool | date | datetime) or name.endswith("_id"):
        return "text"
    if isinstance(found, Decimal):
        return "amount" if "amount" in name or "price" in name else "number"
    return "number" if isinstance(found, int) else "text"
