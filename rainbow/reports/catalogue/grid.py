"""States as pictures: dates by assets, months by groups, and a calendar of one asset.

A state has a colour and a mark, so that it can be told without the colour. There may be thousands of cells, so these are written as
text and not by a template; whatever comes from the ledger is escaped here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

from rainbow.charts import formats

if TYPE_CHECKING:
    from rainbow.partitions.catalogue import Catalogue
    from rainbow.partitions.state import State, Status
    from rainbow.reports.catalogue.places import Places

_T = TypeVar("_T")

# the states with their marks, what needs attention most first
MARKS: Mapping[State, str] = {"failed": "✕", "stale": "↻", "missing": "·", "running": "…", "done": "✓"}
# of reasons, what a cell's title has room for
_REASONS, _LETTERS = 2, 160
# days that leave room for groups side by side
_FEW = 10
_SQUARE, _STEP = 10, 13


def days_by_assets(catalogue: Catalogue, places: Places, days: Sequence[date], names: Sequence[str], label: str) -> str:
    """The grid of these days by these assets, grouped; each cell leads to what made it, or to the asset's page.

    Of few days each group is a table of its own, so that they can stand side by side.
    """
    months = _by(days, lambda day: day.replace(day=1))
    head = "".join(f'<th scope="colgroup" colspan="{len(of_month)}"><span>{_month(of_month)}</span></th>' for of_month in months)
    numbers = "".join(f'<th scope="col">{_day(day, places)}</th>' for day in days)
    table = f'<table class="rw-grid"><thead><tr><td></td>{head}</tr><tr class="rw-numbers"><td></td>{numbers}</tr></thead>'
    bodies = []
    if len(names) > 1:
        cells = "".join(_cell_of_day(catalogue, places, day) for day in days)
        bodies.append(f'<tbody><tr class="rw-all"><th scope="row">All assets</th>{cells}</tr></tbody>')
    for of_group in _by(names, lambda name: catalogue.assets[name].group):
        group = escape(catalogue.assets[of_group[0]].group)
        named = (
            f'<tr class="rw-kind"><th scope="rowgroup" colspan="{len(days) + 1}"><span>{group}</span></th></tr>' if len(names) > 1 else ""
        )
        bodies.append(f"<tbody>{named}{''.join(_row(catalogue, places, days, name) for name in of_group)}</tbody>")
    if len(names) == 1 or len(days) > _FEW:
        return _frame(f"{table}{''.join(bodies)}</table>", label, len(days))
    first, second, *others = bodies
    tables = [f"{table}{body}</table>" for body in (first + second, *others)]
    return _frame("".join(tables), label, len(days), apart=True)


def _row(catalogue: Catalogue, places: Places, days: Sequence[date], name: str) -> str:
    cells = "".join(_cell(name, day, catalogue.status(name, day), places) for day in days)
    return f'<tr><th scope="row"><a href="{escape(places.asset(name), quote=True)}">{escape(name.rpartition("/")[2])}</a></th>{cells}</tr>'


def months_by_groups(catalogue: Catalogue, places: Places, days: Sequence[date], label: str) -> str:
    """The months of these days by groups of assets: the state that weighs most, and how many days are not done."""
    months = _by(days, lambda day: day.replace(day=1))
    groups: dict[str, list[str]] = {}
    for entry in catalogue.assets.values():
        groups.setdefault(entry.group, []).append(entry.name)
    years = "".join(
        f'<th scope="colgroup" colspan="{len(of_year)}">{of_year[0][0].year}</th>' for of_year in _by(months, lambda month: month[0].year)
    )
    names = "".join(
        f'<th scope="col"><a href="{places.month(month[0])}" title="{escape(formats.month(month[0]))}">{_short(month[0])}</a></th>'
        for month in months
    )
    rows = []
    for group, assets in groups.items():
        cells = "".join(_cell_of_month(catalogue, places, group, assets, month) for month in months)
        rows.append(f'<tr><th scope="row">{escape(group)}</th>{cells}</tr>')
    head = f'<thead><tr><td></td>{years}</tr><tr class="rw-numbers"><td></td>{names}</tr></thead>'
    return _frame(f'<table class="rw-grid rw-by-month">{head}<tbody>{"".join(rows)}</tbody></table>', label, len(months))


def calendar(catalogue: Catalogue, asset: str) -> list[tuple[int, str, str]]:
    """An asset's partitions as a calendar a year, the newest first: the year, the drawing, and the same in words."""
    drawn = []
    for of_year in reversed(_by(catalogue.days, lambda day: day.year)):
        first = of_year[0] - timedelta(days=of_year[0].weekday())
        paths: dict[State, list[str]] = defaultdict(list)
        for position, day in enumerate(of_year, of_year[0].weekday()):
            state = catalogue.status(asset, day).state
            paths[state].append(_shape(state, position // 7 * _STEP + 1, position % 7 * _STEP + 15))
        months = "".join(
            f'<text x="{(month[0] - first).days // 7 * _STEP + 1}" y="9">{_short(month[0])}</text>'
            for month in _by(of_year, lambda day: day.replace(day=1))
            if len(month) > 13
        )
        words = ", ".join(f"{len(paths[state])} {state}" for state in MARKS if paths[state])
        shapes = "".join(f'<path class="rw-{state}" d="{"".join(paths[state])}"/>' for state in MARKS if paths[state])
        width, height = ((of_year[-1] - first).days // 7 + 1) * _STEP + 12, 7 * _STEP + 16
        svg = f'<svg class="rw-calendar" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" aria-label="{of_year[0].year}: {words}">'
        drawn.append((of_year[0].year, f"{svg}{months}{shapes}</svg>", words))
    return drawn


def title(name: str, day: date, status: Status) -> str:
    """An asset's partition in a line: its name, day and state, and why."""
    if status.state == "done":
        return f"{name} {day} done"
    more = len(status.reasons) - _REASONS
    reasons = "; ".join(status.reasons[:_REASONS]) + (f"; and {more} more reasons" if more > 0 else "")
    said = f"{name} {day} {status.state}: {reasons}"
    return said if len(said) <= _LETTERS else said[: _LETTERS - 1] + "…"


def _cell(name: str, day: date, status: Status, places: Places) -> str:
    """A cell; only one that is not done is a stop of the Tab key, as all are reached by arrow keys and columns by their heads."""
    url, said = escape(places.cell(name, day, status), quote=True), escape(title(name, day, status), quote=True)
    stop = ' tabindex="-1"' if status.state == "done" else ""
    return f'<td><a class="rw-{status.state}"{stop} href="{url}" title="{said}"></a></td>'


def _cell_of_day(catalogue: Catalogue, places: Places, day: date) -> str:
    state = catalogue.partitions[day].state
    said = f"{formats.long_date(day)}: {state}"
    url = places.report(day) or f"#{day}"
    return f'<td><a class="rw-{state}" tabindex="-1" href="{escape(url, quote=True)}" title="{escape(said, quote=True)}"></a></td>'


def _cell_of_month(catalogue: Catalogue, places: Places, group: str, assets: Sequence[str], days: Sequence[date]) -> str:
    states = {day: {catalogue.status(name, day).state for name in assets} for day in days}
    there = set().union(*states.values())
    state = next(state for state in MARKS if state in there)
    short = sum(found != {"done"} for found in states.values())
    said = f"{group}, {formats.month(days[0])}: " + (f"{short} of {len(days)} days {state}" if short else f"{len(days)} days done")
    return f'<td><a class="rw-{state}" href="{places.month(days[0])}" title="{escape(said, quote=True)}">{short or ""}</a></td>'


def _shape(state: State, x: int, y: int) -> str:
    """A day of a calendar: full, crossed out, half, round or a dot, so that no colour is needed."""
    match state:
        case "done":
            return f"M{x} {y}h{_SQUARE}v{_SQUARE}h-{_SQUARE}z"
        case "failed":
            return f"M{x} {y}l10 10m0-10l-10 10"
        case "stale":
            return f"M{x} {y}h10l-10 10z"
        case "running":
            return f"M{x} {y + 5}a5 5 0 1 0 10 0a5 5 0 1 0-10 0z"
        case _:
            return f"M{x + 3} {y + 5}a2 2 0 1 0 4 0a2 2 0 1 0-4 0z"


def _day(day: date, places: Places) -> str:
    report = places.report(day)
    said = escape(f"{formats.long_date(day)}: {'its report' if report else 'no report'}", quote=True)
    return f'<a href="{escape(report, quote=True)}" title="{said}">{day.day}</a>' if report else f'<span title="{said}">{day.day}</span>'


def _month(days: Sequence[date]) -> str:
    return f"{_short(days[0])} {days[0].year}" if len(days) > 3 else _short(days[0]) if len(days) > 1 else ""


def _short(day: date) -> str:
    return formats.month(day)[:3]


def _frame(tables: str, label: str, columns: int, *, apart: bool = False) -> str:
    """Tables that scroll sideways and begin at their end, where the newest is."""
    size = "rw-apart rw-large" if apart else "rw-large" if columns <= 24 else "rw-medium" if columns <= 40 else "rw-small"
    return f'<div class="rw-frame {size}" style="--days:{columns}" role="region" tabindex="0" aria-label="{escape(label, quote=True)}" data-cells>{tables}</div>'


def _by(items: Iterable[_T], key: Callable[[_T], object]) -> list[list[_T]]:
    return [list(some) for _, some in groupby(items, key=key)]
