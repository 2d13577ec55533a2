"""The shapes that charts are drawn in: days as columns, weekdays as columns, a ranking as bars, and versions over time.

Each is an Altair chart over a data set with a name, built and validated once a process; drawing it again only puts rows in.
Numbers are floats here, for drawing alone: what a reader reads comes as text in the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import altair as alt

from rainbow.charts import theme
from rainbow.charts.formats import WEEKDAYS

Rows = Sequence[Mapping[str, Any]]
Tooltip = tuple[tuple[str, str], ...]

WIDTH = 680
# the roles that a mark can play, in the order of theme.ROLES
BASE, ACCENT, PROVISIONAL, TEAL, PURPLE, YELLOW, VERMILLION, GREY = theme.ROLES
_RANKING_STEP = 42
_GRID_STEP = 40
# more days than this are too thin for columns on a phone: they get a mean as well
MOST_COLUMNS = 120
# a reader may drag over days: ``span`` is what they chose, and a day counts when any of it lies within
_CHOSEN = "span.utcyearmonthdate_date"
_WITHIN = f"time(datum.date) + 86400000 > time({_CHOSEN}[0]) && time(datum.date) < time({_CHOSEN}[1])"
_DIMMED = alt.ExprRef(f"!isArray({_CHOSEN}) || ({_WITHIN}) ? 1 : 0.3")


def days(rows: Rows, *, complete_to: Rows, tooltip: Tooltip, height: int = 220) -> dict[str, Any]:
    """A column a day (``date``, ``value``, ``role``); ``complete_to`` has at most one row, the watermark (``at``, ``label``, ``right``).

    From ``MOST_COLUMNS`` days on a line shows the mean of seven days.
    """
    grammar = (_columns if len(rows) <= MOST_COLUMNS else _thin_columns)(tooltip, bool(complete_to))
    return _filled(grammar, height, days=rows, **({"watermark": complete_to} if complete_to else {}))


def weekdays(rows: Rows, *, tooltip: Tooltip, height: int = 220) -> dict[str, Any]:
    """A column a weekday, Monday first (``day``, ``value``, ``role``, ``label``, ``share``)."""
    return _filled(_weekday_columns(tooltip), height, days=rows)


def ranking(rows: Rows, *, tooltip: Tooltip) -> dict[str, Any]:
    """A bar a row, in the order of ``rank`` (``name``, ``value``, ``label``, ``role``); a name stands above its bar and has the width."""
    return _filled(_ranking_bars(tooltip), _RANKING_STEP * len(rows), rows=rows)


def timeline(rows: Rows, names: Rows, *, tooltip: Tooltip) -> dict[str, Any]:
    """A line a member, in the order of ``rank``, with a bar a version (``rank``, ``from``, ``to``, ``role``) and a mark where it begins.

    The mark is what a version shows that lasted no time. ``names`` has what stands above each line (``rank``, ``name``, ``label``).
    """
    return _filled(_timeline_bars(tooltip), _RANKING_STEP * len(names), rows=rows, names=names)


def grid(rows: Rows, groups: Sequence[str], *, tooltip: Tooltip) -> dict[str, Any]:
    """A cell a group and day (``group``, ``date``, ``role``, ``mark``); the groups in their order, their names above the cells."""
    return _filled(_grid_cells(tuple(groups), tooltip), _GRID_STEP * len(groups), rows=rows, names=[{"group": name} for name in groups])


def stacked_days(rows: Rows, *, tooltip: Tooltip, height: int = 180) -> dict[str, Any]:
    """A column a day, of parts one upon the other in the order of ``place`` (``date``, ``value``, ``role``, ``place``)."""
    return _filled(_stacked_columns(tooltip), height, rows=rows)


def _filled(grammar: Mapping[str, Any], height: int, **datasets: Rows) -> dict[str, Any]:
    return {**grammar, "height": height, "datasets": {name: list(rows) for name, rows in datasets.items()}}


def _finished(chart: Any) -> dict[str, Any]:
    """The chart as Vega-Lite that versions 5.6 and 6 both read, in the colours of a light page."""
    spec = chart.properties(width=WIDTH, autosize=alt.AutoSizeParams(type="fit-x", contains="padding")).to_dict()
    spec.pop("$schema")
    spec["config"] = theme.config()
    return spec


def _tooltip(fields: Tooltip) -> list[alt.Tooltip]:
    return [alt.Tooltip(field, type="nominal", title=title) for field, title in fields]


def _role(*, legend: bool = False) -> alt.Color:
    return alt.Color("role", type="nominal", scale=alt.Scale(domain=list(theme.ROLES)), legend=alt.Legend() if legend else None)


def _compact_axis(**options: Any) -> alt.Axis:
    return alt.Axis(title=None, labelExpr=theme.COMPACT_LABEL, **options)


@lru_cache
def _columns(tooltip: Tooltip, marked: bool) -> dict[str, Any]:
    bars = alt.Chart().mark_bar(cornerRadiusEnd=2, fillOpacity=_DIMMED).encode(x=_day(), y=_amount(), color=_role())
    return _over_days(bars, tooltip, marked)


@lru_cache
def _thin_columns(tooltip: Tooltip, marked: bool) -> dict[str, Any]:
    """Pale columns without gaps, and over them the mean of seven days, which a week's rhythm does not shake."""
    pale = alt.condition(f"datum.role === '{BASE}'", alt.value(0.4), alt.value(1))
    bars = alt.Chart().mark_bar(binSpacing=0, fillOpacity=_DIMMED).encode(x=_day(), y=_amount(), color=_role(), opacity=pale)
    mean = (
        alt.Chart()
        .transform_window(mean="mean(value)", days="count()", sort=[alt.SortField("date")], frame=[-6, 0])
        .transform_filter("datum.days === 7")
    )
    line = mean.mark_line(strokeWidth=2).encode(x=_day(), y=alt.Y("mean", type="quantitative"))
    return _over_days(alt.layer(bars, line), tooltip, marked)


def _day() -> alt.X:
    return alt.X("date", type="temporal", timeUnit="utcyearmonthdate", axis=_day_axis(), scale=alt.Scale(type="utc"))


def _day_axis() -> alt.Axis:
    # of few days Vega has ticks at noon as well
    of_days = "utchours(datum.value) ? '' : datum.label"
    return alt.Axis(title=None, format="%-d %b", labelExpr=of_days, labelOverlap=True, labelBound=True, labelAlign="left", tickCount=8)


def _amount() -> alt.Y:
    return alt.Y("value", type="quantitative", axis=_compact_axis(), scale=alt.Scale(zero=True))


def _over_days(marks: Any, tooltip: Tooltip, marked: bool) -> dict[str, Any]:
    hover = alt.selection_point(name="hover", on="pointerover", clear="pointerout", fields=["date"], empty=False)
    lit = (
        alt.Chart()
        .mark_bar(binSpacing=0)
        .encode(
            x=_day(),
            y=alt.value(0),
            y2=alt.value("height"),
            opacity=alt.condition(hover, alt.value(0.1), alt.value(0)),
            tooltip=_tooltip(tooltip),
        )
        .add_params(hover, alt.selection_interval(name="span", encodings=["x"]))
    )
    chosen = _sum_of_chosen()
    if not marked:
        return _finished(alt.layer(marks, lit, chosen, data=alt.NamedData("days")))
    end_of_day = alt.X("at", type="temporal", scale=alt.Scale(type="utc"), axis=_day_axis())
    watermark = alt.Chart(alt.NamedData("watermark")).encode(x=end_of_day)
    rule = watermark.mark_rule(strokeDash=[4, 3], y=-6, y2="height")
    label = watermark.mark_text(style="note", align=alt.ExprRef("datum.right ? 'right' : 'left'"), y=-14, baseline="middle").encode(
        text="label:N"
    )
    return _finished(alt.layer(marks, lit, chosen, rule, label, data=alt.NamedData("days")))


def _sum_of_chosen() -> alt.Chart:
    """Above the chart, on the left: which days a reader has dragged over, and their sum."""
    days = "utcFormat(datum.first, '%-d %b') + (+datum.first === +datum.last ? '' : ' to ' + utcFormat(datum.last, '%-d %b'))"
    chart: alt.Chart = (
        alt.Chart()
        .transform_filter(f"isArray({_CHOSEN}) && {_WITHIN}")
        .transform_aggregate(total="sum(value)", first="min(date)", last="max(date)", days="count()")
        .transform_filter("datum.days > 0")
        .transform_calculate(chosen=f"{days} + ': ' + ({theme.compact('datum.total')})")
        .mark_text(style="value", align="left", baseline="middle")
        .encode(x=alt.value(0), y=alt.value(-14), text="chosen:N")
    )
    return chart


@lru_cache
def _weekday_columns(tooltip: Tooltip) -> dict[str, Any]:
    day = alt.X(
        "day",
        type="ordinal",
        sort=list(WEEKDAYS),
        axis=alt.Axis(title=None, labelExpr="slice(datum.label, 0, 3)", labelAngle=0, labelFontSize=13),
    )
    base = alt.Chart().encode(x=day, y=alt.Y("value", type="quantitative", axis=None), tooltip=_tooltip(tooltip))
    bars = base.mark_bar(cornerRadiusEnd=3).encode(color=_role())
    amounts = base.mark_text(style="value", dy=-24).encode(text="label:N")
    share = base.mark_text(style="note", dy=-9).encode(text="share:N")
    return _finished(alt.layer(bars, amounts, share, data=alt.NamedData("days")))


@lru_cache
def _ranking_bars(tooltip: Tooltip) -> dict[str, Any]:
    rank = alt.Y("rank", type="ordinal", axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0))
    base = alt.Chart().encode(y=rank, tooltip=_tooltip(tooltip))
    bars = base.mark_bar(height=10, yOffset=9, cornerRadiusEnd=3).encode(
        x=alt.X("value", type="quantitative", axis=None, scale=alt.Scale(zero=True, nice=False)), color=_role()
    )
    ranks = base.mark_text(style="note", align="left", baseline="middle", dy=-7).encode(x=alt.value(0), text="rank:O")
    names = base.mark_text(style="name", align="left", baseline="middle", dy=-7, limit=alt.ExprRef("width - 100")).encode(
        x=alt.value(22), text="name:N"
    )
    labels = base.mark_text(style="value", align="right", baseline="middle", dy=-7, limit=75).encode(x=alt.value("width"), text="label:N")
    return _finished(alt.layer(bars, ranks, names, labels, data=alt.NamedData("rows")))


@lru_cache
def _timeline_bars(tooltip: Tooltip) -> dict[str, Any]:
    rank = alt.Y("rank", type="ordinal", axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0))
    begin = alt.X("from", type="temporal", axis=_day_axis(), scale=alt.Scale(type="utc", nice="day"))
    versions = alt.Chart(alt.NamedData("rows")).encode(y=rank, x=begin, color=_role(), tooltip=_tooltip(tooltip))
    bars = versions.mark_bar(height=6, yOffset=9, opacity=0.45).encode(x2="to")
    marks = versions.mark_tick(thickness=3, size=16, yOffset=9, opacity=1)
    named = alt.Chart(alt.NamedData("names")).encode(y=rank)
    names = named.mark_text(style="name", align="left", baseline="middle", dy=-9, limit=alt.ExprRef("width - 100")).encode(
        x=alt.value(0), text="name:N"
    )
    labels = named.mark_text(style="note", align="right", baseline="middle", dy=-9, limit=95).encode(x=alt.value("width"), text="label:N")
    return _finished(alt.layer(bars, marks, names, labels))


@lru_cache
def _grid_cells(groups: tuple[str, ...], tooltip: Tooltip) -> dict[str, Any]:
    group = alt.Y("group", type="ordinal", sort=list(groups), axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0))
    day = alt.X("date", type="temporal", timeUnit="utcyearmonthdate", axis=_day_axis(), scale=alt.Scale(type="utc"))
    base = alt.Chart(alt.NamedData("rows")).encode(y=group, x=day, tooltip=_tooltip(tooltip))
    cells = base.mark_bar(height=20, yOffset=8, cornerRadius=3, opacity=0.35).encode(color=_role())
    marks = base.mark_text(style="value", yOffset=8, baseline="middle").encode(
        text="mark:N", x=alt.X("date", type="temporal", timeUnit="utcyearmonthdate", bandPosition=0.5)
    )
    names = (
        alt.Chart(alt.NamedData("names"))
        .mark_text(style="name", align="left", baseline="middle", dy=-11)
        .encode(y=group, x=alt.value(0), text="group:N")
    )
    return _finished(alt.layer(cells, marks, names))


@lru_cache
def _stacked_columns(tooltip: Tooltip) -> dict[str, Any]:
    columns = (
        alt.Chart(alt.NamedData("rows"))
        .mark_bar()
        .encode(
            x=_day(),
            y=alt.Y("value", type="quantitative", axis=_compact_axis(), scale=alt.Scale(zero=True), stack="zero"),
            color=_role(),
            order=alt.Order("place", type="quantitative"),
            tooltip=_tooltip(tooltip),
        )
    )
    return _finished(columns)
