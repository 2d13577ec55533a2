"""The live page: the same charts as the reports', in sections that the page asks its server for again and again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rainbow.charts.elements import Chart, Fragment, Row
from rainbow.reports import bundle
from rainbow.reports.bundle import script
from rainbow.reports.executed import Block, data_blocks
from rainbow.reports.rendering import part, render

Part = Chart | Fragment | Row


@dataclass(frozen=True)
class LiveSection:
    """A section of the live page: its place in the page, its title, and HTML whose data is escaped; charts are in it as specifications."""

    name: str
    title: str
    html: str


def live_section(name: str, title: str, parts: Sequence[Part]) -> LiveSection:
    """A section from what a dashboard's methods gave."""
    return LiveSection(name, title, part("parts.html.jinja", "blocks", [block for one in parts for block in _blocks(one)], name))


def live_page(state: str, seconds: float) -> str:
    """The page, without figures: it asks for ``state``, an address relative to its own, every so many seconds.

    The answer is a JSON object: ``day``, the day in words; ``facts``, a list of short texts; ``sections``, each with ``name``,
    ``title`` and ``html``. While nothing has changed it may be 304.
    """
    return _page(state, seconds)


@lru_cache(maxsize=4)
def _page(state: str, seconds: float) -> str:
    scripts, styles = [script(bundle.template("live.js"))], [bundle.template("live.css")]
    return render("live.html.jinja", draws=True, asks=True, scripts=scripts, styles=styles, state=state, milliseconds=round(seconds * 1000))


def _blocks(one: Part) -> list[Block]:
    if isinstance(one, Row):
        return [block for inner in one.parts for block in _blocks(inner)]
    bundle_ = one._repr_mimebundle_()
    return list(data_blocks(bundle_[0] if isinstance(bundle_, tuple) else bundle_))
