"""The pages of a partition: its report, and an executed notebook; each one file that needs nothing else.

The caller says what there is to show; the pages only show it, and escape all but the HTML that ``executed`` and ``rainbow.charts``
made safe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rainbow.errors import DataError
from rainbow.olap.published import VIEWS
from rainbow.reports.evidence import PAGE
from rainbow.reports.executed import read
from rainbow.reports.files import link, write_atomically
from rainbow.reports.rendering import render

if TYPE_CHECKING:
    from rainbow.checks import Check


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
    html = render(
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
        evidence=PAGE,
        traced=VIEWS,
        draws=any(block.kind == "chart" for section in sections for block in section.blocks),
    )
    return write_atomically(destination, html)


def render_notebook(path: Path) -> str:
    """An executed notebook as a page: its text and results, the code beside them in a quiet voice. Raises DataError."""
    notebook = read(path)
    index = link(path.parent.parent / "index.html", path)
    return render("notebook.html.jinja", notebook=notebook, index=index, draws=any(block.kind == "chart" for block in notebook.blocks))


def error_of(notebook: Path) -> str:
    """The error that stopped an executed notebook, in one line; empty when none did."""
    try:
        return read(notebook).error
    except DataError as error:
        return str(error)


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
