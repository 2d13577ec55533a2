"""The pages: a partition's report, an executed notebook, and the index of all partitions; each one file that needs nothing else.

The caller says what there is to show (partitions, states, checks); the pages only show it. Templates escape whatever they are
given, except the HTML that ``executed`` and ``rainbow.charts`` made safe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from rainbow.charts import formats, theme
from rainbow.errors import DataError
from rainbow.reports import bundle
from rainbow.reports.executed import read
from rainbow.reports.files import link, write_atomically

if TYPE_CHECKING:
    from rainbow.checks import Check

State = Literal["materialized", "failed", "stale", "missing", "running"]
STATES: Mapping[State, tuple[str, str]] = {
    "materialized": ("✓", "materialized"),
    "stale": ("↻", "stale"),
    "running": ("…", "running"),
    "failed": ("✕", "failed"),
    "missing": ("·", "missing"),
}


@dataclass(frozen=True)
class Entry:
    """A partition's line in the index. ``report`` and ``notebooks`` are linked if they exist; ``note`` says why it is in its state."""

    partition_date: date
    state: State
    rows: int | None = None
    seconds: float | None = None
    report: Path | None = None
    notebooks: Sequence[Path] = field(default_factory=tuple)
    checks_passed: int = 0
    checks_failed: int = 0
    partial: bool = False
    note: str = ""


def render_report(partition_date: date, notebooks: Sequence[Path], checks: Sequence[Check], destination: Path) -> Path:
    """Write a partition's report from its executed dashboard notebooks, in their order; return ``destination``.

    What failed stands at the top: checks, and notebooks that stopped or cannot be read. The report links the executed notebooks
    where they are, or their pages (the same name, ``.html``) where those are beside them.
    """
    sections, unread = [], []
    for path in notebooks:
        try:
            sections.append(read(path))
        except DataError as error:
            unread.append(str(error))
    about = next((section.about for section in sections if section.about), {})
    stopped = [f"{section.title}: {section.error}" for section in sections if section.error]
    html = _render(
        "report.html.jinja",
        partition_date=partition_date,
        about=_readable(about),
        sections=sections,
        failures=[*stopped, *unread],
        failed=[check for check in checks if not check.passed and check.severity == "error"],
        warned=[check for check in checks if not check.passed and check.severity != "error"],
        checks=checks,
        links={section.name: link(_page_of(section.path), destination) for section in sections},
        index=link(destination.parent.parent / "index.html", destination),
        draws=any(block.kind == "chart" for section in sections for block in section.blocks),
    )
    return write_atomically(destination, html)


def render_notebook(path: Path) -> str:
    """An executed notebook as a page: its text and results, the code beside them in a quiet voice. Raises DataError."""
    notebook = read(path)
    return _render("notebook.html.jinja", notebook=notebook, draws=any(block.kind == "chart" for block in notebook.blocks))


def render_index(entries: Sequence[Entry], destination: Path) -> Path:
    """Write the index of all partitions, the newest first; return ``destination``."""
    newest_first = sorted(entries, key=lambda entry: entry.partition_date, reverse=True)
    rows = [
        {
            "entry": entry,
            "report": link(entry.report, destination) if entry.report and entry.report.exists() else "",
            "notebooks": [(path.stem, link(_page_of(path), destination)) for path in entry.notebooks if _page_of(path).exists()],
        }
        for entry in newest_first
    ]
    html = _render(
        "index.html.jinja",
        rows=rows,
        months=_months(newest_first),
        counts=Counter(entry.state for entry in entries),
        total_rows=sum(entry.rows or 0 for entry in entries),
        seconds=sum(entry.seconds or 0 for entry in entries),
        checks_passed=sum(entry.checks_passed for entry in entries),
        checks_failed=sum(entry.checks_failed for entry in entries),
        draws=False,
    )
    return write_atomically(destination, html)


def _page_of(notebook: Path) -> Path:
    page = notebook.with_suffix(".html")
    return page if page.exists() else notebook


def _readable(about: Mapping[str, Any]) -> dict[str, Any]:
    """The scope with its dates as dates; unknown ones None."""
    readable = dict.fromkeys(("first_day", "watermark", "published_at"))
    for name in ("first_day", "watermark"):
        readable[name] = date.fromisoformat(about[name]) if about.get(name) else None
    readable["published_at"] = datetime.fromisoformat(about["published_at"]) if about.get("published_at") else None
    return {**readable, "provisional": bool(about.get("provisional")), "known": bool(about)}


def _months(newest_first: Sequence[Entry]) -> list[tuple[str, list[Entry]]]:
    """The partitions by calendar month, as a calendar is read: the oldest first."""
    by_month: dict[str, list[Entry]] = {}
    for entry in reversed(newest_first):
        by_month.setdefault(formats.month(entry.partition_date), []).append(entry)
    return list(by_month.items())


def _render(template: str, *, draws: bool, **values: Any) -> str:
    scripts = [bundle.vega(), bundle.page()] if draws else [bundle.page()]
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            draws=draws,
            csp=f"default-src 'none'; script-src {' '.join(script.csp for script in scripts)}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",
            scripts=[Markup(script.text) for script in scripts],
            style=Markup(bundle.style()),
            light=Markup(theme.css_variables(theme.LIGHT)),
            dark=Markup(theme.css_variables(theme.DARK)),
            config=Markup(_config()),
        )
    )


@lru_cache(maxsize=1)
def _config() -> str:
    import json

    return json.dumps(theme.page_config()).replace("<", "\\u003c")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rainbow.reports"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "long_date": formats.long_date,
        "short_date": formats.short_date,
        "exact": formats.exact,
        "compact": formats.compact,
        "seconds": _duration,
    }
    environment.globals["states"] = STATES
    return environment


def _duration(seconds: float) -> str:
    """``0.42 s``, ``18.3 s``, ``3 min 20 s``."""
    if seconds >= 60:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
