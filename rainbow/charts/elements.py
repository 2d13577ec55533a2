"""What a dashboard cell returns: a chart or a piece of HTML, as output that a notebook, JupyterLab and a report can each show.

Everything that comes from the data is escaped here, so a report may pass a ``Fragment``'s HTML through as it is. Charts are
Vega-Lite specifications under the MIME type that JupyterLab draws by itself, without the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from html import escape
from typing import Any, Literal

from rainbow.charts import formats

# JupyterLab 4.6 draws Vega-Lite 5 (5.6.1); it would show version 6 as text. The grammar used is common to both.
VEGALITE_MIME = "application/vnd.vegalite.v5+json"
VEGALITE_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
# marks HTML that was escaped here; its value says what the piece is and what it is about
FRAGMENT_MIME = "application/vnd.rainbow.fragment+json"

Kind = Literal["text", "long", "amount", "number", "count", "share", "rank"]


@dataclass(frozen=True)
class Chart:
    """A chart: its specification, the title above it, and a sentence for those who cannot see it.

    ``legend`` names the roles (theme.ROLES) that are drawn; ``half`` lets a page set two of a kind side by side.
    """

    spec: Mapping[str, Any]
    title: str
    alt: str
    note: str = ""
    half: bool = False
    legend: Sequence[tuple[str, str]] = ()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict[str, Any], dict[str, Any]]:
        about = {"title": self.title, "alt": self.alt, "note": self.note, "half": self.half, "legend": [list(pair) for pair in self.legend]}
        title = {"text": self.title, "subtitle": self.note} if self.note else self.title
        spec = {"$schema": VEGALITE_SCHEMA, **self.spec, "title": title, "usermeta": about}
        return {VEGALITE_MIME: spec, "text/plain": f"{self.title}: {self.alt}"}, {
            VEGALITE_MIME: {"embed_options": {"actions": False, "renderer": "svg"}}
        }


@dataclass(frozen=True)
class Fragment:
    """A piece of HTML whose data is already escaped, and the same in plain text."""

    kind: str
    html: str
    text: str
    about: Mapping[str, Any] = field(default_factory=dict)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {FRAGMENT_MIME: {"kind": self.kind, **self.about}, "text/html": self.html, "text/plain": self.text}


@dataclass(frozen=True)
class Row:
    """Several outputs of one cell, shown one after another; a report sets the charts among them side by side."""

    parts: Sequence[Chart | Fragment]

    def _ipython_display_(self) -> None:
        from IPython.display import display

        for part in self.parts:
            display(part)


@dataclass(frozen=True)
class Column:
    """A table's column: the key of its values in each row, its title, and how a value reads; ``long`` text is shown whole, on several lines."""

    key: str
    title: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Figure:
    """A headline figure: what it counts, its exact value, its unit if it is money, and the same of earlier days."""

    name: str
    value: int | Decimal
    unit: str = ""
    compared: Sequence[tuple[str, int | Decimal | None]] = ()
    more_is_better: bool = True


def answer(sentence: str, *, about: Mapping[str, Any], parts: Sequence[str] = ()) -> Fragment:
    """The sentence that answers the dashboard's question; each ``{}`` in it takes the next of ``parts``, the first set off."""
    safe = [f"<bdi>{escape(part)}</bdi>" for part in parts]
    html = escape(sentence).format(*(f"<strong>{part}</strong>" if i == 0 else part for i, part in enumerate(safe)))
    return Fragment("answer", f'<p class="rw-answer">{html}</p>', sentence.format(*parts), about)


def empty(sentence: str, *, about: Mapping[str, Any] | None = None) -> Fragment:
    """What stands where there is nothing to draw."""
    return Fragment("empty", f'<p class="rw-empty">{escape(sentence)}</p>', sentence, about or {})


def headline(title: str, figures: Sequence[Figure], *, note: str = "", provisional: bool = False, evidence: str = "") -> Fragment:
    """Headline figures side by side: rounded to be read, exact beneath, and how each changed; ``evidence`` is the address of what proves them."""
    tiles = "".join(_tile(figure, evidence) for figure in figures)
    mark = ' <span class="rw-mark">provisional</span>' if provisional else ""
    # the inline style is for JupyterLab, where no page sets these side by side
    tiles = f'<div class="rw-tiles" style="display:flex;flex-wrap:wrap;gap:1rem 2rem">{tiles}</div>'
    small = f" <small>{escape(note)}</small>" if note else ""
    html = f'<section class="rw-headline"><h3>{escape(title)}{mark}{small}</h3>{tiles}</section>'
    text = f"{title}: " + ", ".join(f"{f.name} {_exact(f)}" for f in figures)
    return Fragment("headline", html, text)


def table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    *,
    caption: str,
    currency: str,
    summary: Mapping[str, Any] | None = None,
    mark: str = "",
    folded: bool = False,
) -> Fragment:
    """A table with exact values; ``summary`` is its last row, ``mark`` the key of a flag that sets a row off; ``folded``: a click opens it."""
    head = "".join(f'<th scope="col" class="rw-{column.kind}">{escape(column.title)}</th>' for column in columns)
    body = "".join(_table_row(row, columns, currency, "rw-marked" if mark and row.get(mark) else "") for row in rows)
    foot = f"<tfoot>{_table_row(summary, columns, currency, '')}</tfoot>" if summary else ""
    html = (
        f'<div class="rw-scroll" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}"><table class="rw-table">'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{foot}</table></div>"
    )
    if folded:
        html = f'<details class="rw-more"><summary>All {len(rows)} rows as a table</summary>{html}</details>'
    lines = [
        [column.title for column in columns],
        *([_cell_text(row.get(c.key), c, currency) for c in columns] for row in [*rows, *([summary] if summary else [])]),
    ]
    return Fragment("table", html, "\n".join("\t".join(line) for line in lines))


def _tile(figure: Figure, evidence: str) -> str:
    unit = f' <span class="rw-unit">{escape(figure.unit)}</span>' if figure.unit else ""
    value = f'<data value="{figure.value}">{escape(formats.compact(figure.value))}</data>{unit}'
    if evidence:
        value = f'<a href="{escape(evidence, quote=True)}" title="Where this figure comes from">{value}</a>'
    exact = f'<div class="rw-exact">{escape(_exact(figure))}</div>' if figure.value >= 1000 or figure.value <= -1000 else ""
    changes = "".join(_change(figure, against, before) for against, before in figure.compared)
    return f'<div class="rw-tile"><div class="rw-name">{escape(figure.name)}</div><div class="rw-value"><strong>{value}</strong></div>{exact}{changes}</div>'


def _change(figure: Figure, against: str, before: int | Decimal | None) -> str:
    change = formats.change(figure.value, before)
    arrow = {"up": "▲", "down": "▼", "same": "=", "unknown": ""}[change.direction]
    icon = f'<span aria-hidden="true">{arrow}</span> ' if arrow else ""
    style = f"rw-{change.direction}" if figure.more_is_better else "rw-neutral"
    return f'<div class="rw-change {style}"><b>{icon}{escape(change.text)}</b> <span>{escape(against)}</span></div>'


def _exact(figure: Figure) -> str:
    return formats.amount(figure.value, figure.unit) + f" {figure.unit}" if figure.unit else formats.exact(figure.value)


def _table_row(row: Mapping[str, Any], columns: Sequence[Column], currency: str, style: str) -> str:
    cells = []
    for position, column in enumerate(columns):
        text = _cell_text(row.get(column.key), column, currency)
        content = escape(text)
        if column.kind == "text":
            content = f'<bdi title="{escape(text, quote=True)}">{content}</bdi>'
        elif column.kind == "long":
            content = f"<bdi>{content}</bdi>"
        tag = 'th scope="row"' if position == 0 else "td"
        cells.append(f'<{tag} class="rw-{column.kind}">{content}</{tag[:2]}>')
    return f"<tr{f' class={style}' if style else ''}>{''.join(cells)}</tr>"


def _cell_text(value: Any, column: Column, currency: str) -> str:
    if value is None:
        return "" if column.kind in {"text", "long", "rank"} else formats.NO_VALUE
    match column.kind:
        case "amount":
            return formats.amount(value, currency)
        case "number" | "count" | "rank":
            return formats.exact(value)
        case "share":
            return formats.percent(value)
        case _:
            return formats.plain(value)
