"""The catalogue's pages: what needs attention, dates by assets, lineage and runs; a page an asset, and one a month of long ago.

They say what ``rainbow.partitions.catalogue`` has gathered. What they are drawn by lies in this folder and not beside the reports'
own code, so that a change here makes no report stale.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import lru_cache
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from rainbow.charts import formats
from rainbow.reports import bundle
from rainbow.reports.catalogue import grid, lineage, words
from rainbow.reports.catalogue.grid import MARKS
from rainbow.reports.catalogue.lineage import Said
from rainbow.reports.catalogue.places import Places, file_of
from rainbow.reports.files import write_atomically
from rainbow.reports.rendering import render

if TYPE_CHECKING:
    from rainbow.checks import Check
    from rainbow.partitions.attention import Trouble
    from rainbow.partitions.catalogue import Catalogue, Entry, Finding, Partition
    from rainbow.partitions.state import State, Status

# what a table shows at most of troubles, of an asset's partitions that are not done, and of a check's rows, columns and letters
_TROUBLES, _NOT_DONE = 12, 31
_ROWS, _COLUMNS, _LETTERS = 10, 12, 120


def write(catalogue: Catalogue, folder: Path) -> Path:
    """Write all pages into the folder of the reports; returns the first. A page that says what it said is left as it is."""
    places = Places(folder, catalogue)
    below = places.within()
    for entry in catalogue.assets.values():
        _write(folder / "assets" / file_of(entry.name), _asset_page(catalogue, below, entry))
    months = _earlier_months(catalogue)
    for days in months:
        page, version = folder / "months" / f"{days[0]:%Y-%m}.html", _version_of_month(catalogue, below, days, months)
        if not _has_version(page, version):
            write_atomically(page, _month_page(catalogue, below, days, months, version))
    return _write(folder / "index.html", _first_page(catalogue, places))


def _write(page: Path, html: str) -> Path:
    if page.exists() and page.read_bytes() == html.encode():
        return page
    return write_atomically(page, html)


def _first_page(catalogue: Catalogue, places: Places) -> str:
    recent, earlier = catalogue.days[-catalogue.recent :], [day for month in _earlier_months(catalogue) for day in month]
    counts = Counter(partition.state for partition in catalogue.partitions.values())
    return _render(
        "index.html.jinja",
        catalogue=catalogue,
        places=places,
        verdict=words.verdict(catalogue),
        loudest="failed" if catalogue.failures else next((state for state in MARKS if counts[state]), ""),
        troubles=[_trouble(catalogue, one) for one in catalogue.troubles[:_TROUBLES]],
        more_troubles=len(catalogue.troubles[_TROUBLES:]),
        failures=[_finding(one) for one in catalogue.failures[:_TROUBLES]],
        warnings=[_finding(one) for one in catalogue.warnings[:_TROUBLES]],
        freshness=[(one, words.behind(one, catalogue.yesterday)) for one in catalogue.freshness],
        grid=Markup(grid.days_by_assets(catalogue, places, recent, list(catalogue.assets), "The grid of dates by assets"))
        if recent
        else "",
        months=Markup(grid.months_by_groups(catalogue, places, earlier, "The grid of earlier months by groups of assets"))
        if earlier
        else "",
        earlier=earlier,
        recent=recent,
        lineage=Markup(_lineage(catalogue, places)),
        partitions=[_partition(catalogue, places, catalogue.partitions[day]) for day in reversed(recent)],
    )


def _version_of_month(catalogue: Catalogue, places: Places, days: Sequence[date], months: Sequence[Sequence[date]]) -> str:
    """A hash of all that a month's page says, made far sooner than the page: of years of months most stay as they are."""
    states = [
        (s.state, s.reasons, s.newest and s.newest.run) for name in catalogue.assets for s in (catalogue.status(name, day) for day in days)
    ]
    partitions = [_partition(catalogue, places, catalogue.partitions[day]) for day in days]
    said = (_code(), [(e.name, e.group) for e in catalogue.assets.values()], days, months[0][0], months[-1][0], states, partitions)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:32]


def _has_version(page: Path, version: str) -> bool:
    if not page.exists():
        return False
    with page.open("rb") as file:
        return f'content="{version}"'.encode() in file.read(500)


def _month_page(catalogue: Catalogue, places: Places, days: Sequence[date], months: Sequence[Sequence[date]], version: str) -> str:
    firsts = [month[0] for month in months]
    at = firsts.index(days[0])
    return _render(
        "month.html.jinja",
        catalogue=catalogue,
        places=places,
        month=formats.month(days[0]),
        counts=Counter(catalogue.partitions[day].state for day in days),
        before=firsts[at - 1] if at else None,
        after=firsts[at + 1] if at + 1 < len(firsts) else None,
        version=version,
        grid=Markup(grid.days_by_assets(catalogue, places, days, list(catalogue.assets), "The grid of dates by assets")),
        partitions=[_partition(catalogue, places, catalogue.partitions[day]) for day in reversed(days)],
    )


def _asset_page(catalogue: Catalogue, places: Places, entry: Entry) -> str:
    recent = catalogue.days[-catalogue.recent :]
    not_done = list(_not_done(catalogue, entry.name))
    failing = [_finding(one) for one in (*catalogue.failures, *catalogue.warnings) if one.asset == entry.name]
    return _render(
        "asset.html.jinja",
        catalogue=catalogue,
        places=places,
        entry=entry,
        counts=Counter(catalogue.status(entry.name, day).state for day in catalogue.days),
        grid=Markup(grid.days_by_assets(catalogue, places, recent, [entry.name], "Dates of this asset")) if recent else "",
        calendars=[(year, Markup(svg), said) for year, svg, said in grid.calendar(catalogue, entry.name)]
        if len(recent) < len(catalogue.days)
        else [],
        not_done=not_done[:_NOT_DONE],
        more_not_done=len(not_done[_NOT_DONE:]),
        failing=failing,
        lineage=Markup(_neighbours(catalogue, places, entry)),
        made=[
            {
                "made": one,
                "url": places.made(entry.step, one.run),
                "bytes": words.size(one.bytes),
                "more": ", ".join(f"{name}: {value}" for name, value in one.metadata.items() if name != "page"),
            }
            for one in entry.made
        ],
    )


def _not_done(catalogue: Catalogue, asset: str) -> Iterator[dict[str, Any]]:
    """The days of an asset that are not done, the newest first; days in a row that are so for the same reasons as one."""
    for status, of_status in groupby(reversed(catalogue.days), key=lambda day: _why(catalogue.status(asset, day))):
        state, reasons = status
        if state != "done":
            days = list(of_status)[::-1]
            yield {"state": state, "days": f"{days[0]} .. {days[-1]}" if len(days) > 1 else str(days[0]), "reasons": reasons}


def _why(status: Status) -> tuple[State, tuple[str, ...]]:
    return status.state, status.reasons


def _lineage(catalogue: Catalogue, places: Places) -> str:
    upstream = lineage.essential({entry.name: entry.upstream for entry in catalogue.assets.values()})
    layout = lineage.lay_out(upstream, {entry.name: entry.group for entry in catalogue.assets.values()})
    return lineage.svg(layout, {name: _said(catalogue, places, name) for name in upstream}, "Lineage of the assets")


def _neighbours(catalogue: Catalogue, places: Places, entry: Entry) -> str:
    """An asset between what it is made from and what is made from it."""
    names = (*entry.upstream, entry.name, *entry.downstream)
    upstream: dict[str, tuple[str, ...]] = {name: (entry.name,) if name in entry.downstream else () for name in names}
    upstream[entry.name] = entry.upstream
    groups = dict.fromkeys(entry.upstream, "Made from") | {entry.name: "This asset"} | dict.fromkeys(entry.downstream, "Used by")
    said = {name: _said(catalogue, places, name, leads=name != entry.name) for name in names}
    return lineage.svg(
        lineage.lay_out(upstream, groups, whole_names=True), said, f"What {entry.name} is made from, and what is made from it"
    )


def _said(catalogue: Catalogue, places: Places, name: str, *, leads: bool = True) -> Said:
    if not catalogue.days:
        return Said("missing", MARKS["missing"], f"{name}: never made", places.asset(name) if leads else "")
    day = catalogue.days[-1]
    status = catalogue.status(name, day)
    return Said(status.state, MARKS[status.state], grid.title(name, day, status), places.asset(name) if leads else "")


def _partition(catalogue: Catalogue, places: Places, partition: Partition) -> dict[str, Any]:
    day = partition.day
    return {
        "partition": partition,
        "report": places.report(day),
        "notebooks": places.notebooks(day, catalogue.notebooks),
        "dashboards": places.notebooks(day, catalogue.dashboards),
        "together": bool(partition.run and len(partition.run.partitions) > 1),
    }


def _trouble(catalogue: Catalogue, trouble: Trouble) -> dict[str, Any]:
    """What needs attention; groups of which it is all are named as such."""
    groups: dict[str, list[str]] = {}
    for entry in catalogue.assets.values():
        groups.setdefault(entry.group, []).append(entry.name)
    whole = [group for group, names in groups.items() if len(names) > 1 and set(names) <= set(trouble.assets)]
    listed = ["all assets"] if len(trouble.assets) == len(catalogue.assets) else [f"all of {group}" for group in whole]
    names = [name for name in trouble.assets if catalogue.assets[name].group not in whole] if listed != ["all assets"] else []
    return {
        "trouble": trouble,
        "failed": trouble.state == "failed",
        "days": words.span(trouble.days),
        "command": words.command(trouble),
        "groups": listed,
        "names": names,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    """A check that does not hold, with the rows that show it as a table of short texts."""
    check: Check = finding.check
    columns = list(dict.fromkeys(str(name) for row in check.sample for name in row))[:_COLUMNS]
    rows = [[_short(row.get(name)) for name in columns] for row in check.sample[:_ROWS]]
    # a test of dbt that is attached to no model stands for itself
    asset = finding.asset if finding.asset != check.name else ""
    return {"asset": asset, "day": finding.partition_date, "check": check, "columns": columns, "rows": rows}


def _short(value: object) -> str:
    if value is None:
        return formats.NO_VALUE
    text = formats.plain(value)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"


def _earlier_months(catalogue: Catalogue) -> list[list[date]]:
    """The months of which the first page does not show every day, each with all of its days."""
    months = (list(of_month) for _, of_month in groupby(catalogue.days, key=lambda day: day.replace(day=1)))
    return [days for days in months if days[0] < catalogue.days[-catalogue.recent :][0]]


def _render(template: str, **values: Any) -> str:
    return render(template, scripts=[_script()], styles=[_style()], marks=MARKS, marked=_marked, **values)


def _marked(counts: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """The states that there are, with their marks and how often."""
    return [(state, mark, counts[state]) for state, mark in MARKS.items() if counts.get(state)]


@lru_cache(maxsize=1)
def _script() -> bundle.Script:
    return bundle.script(_text("catalogue.js"))


@lru_cache(maxsize=1)
def _style() -> str:
    return _text("catalogue.css")


@lru_cache(maxsize=1)
def _code() -> str:
    """A hash of what draws the pages."""
    package = Path(__file__).parents[2]
    drawn_by = sorted(path for pattern in ("reports/**/*.*", "charts/*.py") for path in package.glob(pattern) if path.suffix != ".pyc")
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in drawn_by)).hexdigest()


def _text(name: str) -> str:
    return files("rainbow.reports.catalogue").joinpath("templates", name).read_text(encoding="utf-8")
