"""The one visual language of charts: colours, type and the Vega configuration made of them.

The colours are Okabe and Ito's, which people with any of the common colour-vision deficiencies can tell apart
(https://jfly.uni-koeln.de/color/), set lighter on a dark page. A chart names roles, never colours, so that the same
chart is drawn with fixed colours in a notebook and with a page's CSS variables in a report (light, dark and print).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif'

# the order of the roles is the order of config.range.category; charts use them through scale_of()
ROLES = ("base", "accent", "provisional", "teal", "purple", "yellow", "vermillion", "grey")

LIGHT: Mapping[str, str] = {
    "ink": "#17202b",
    "quiet": "#566273",
    "rule": "#e2e6eb",
    "surface": "#ffffff",
    "base": "#0072b2",
    "accent": "#d55e00",
    "provisional": "#56b4e9",
    "teal": "#009e73",
    "purple": "#b5568c",
    "yellow": "#b88a00",
    "vermillion": "#a63c00",
    "grey": "#7a8594",
}
DARK: Mapping[str, str] = {
    "ink": "#edf1f6",
    "quiet": "#a3afbf",
    "rule": "#2c3643",
    "surface": "#171d26",
    "base": "#56b4e9",
    "accent": "#f2a03d",
    "provisional": "#3f7ba6",
    "teal": "#2cc195",
    "purple": "#dd8fbd",
    "yellow": "#f0e442",
    "vermillion": "#ff8a4c",
    "grey": "#8b97a6",
}


def compact(field: str) -> str:
    """Vega's expression for a number with the units of formats.compact(): d3 says k and G where we say K and B."""
    return f"abs({field}) < 1000 ? format({field}, '~g') : replace(replace(format({field}, '.3~s'), 'G', 'B'), 'k', 'K')"


# an axis label
COMPACT_LABEL = compact("datum.value")


def config(colours: Mapping[str, str] = LIGHT, *, background: str | None = None) -> dict[str, Any]:
    """Vega-Lite's configuration in these colours; a colour may be any CSS colour, ``var(--ink)`` too, as charts are drawn as SVG."""
    text = {
        "labelColor": colours["quiet"],
        "titleColor": colours["quiet"],
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    axis = {"domain": False, "ticks": False, "gridColor": colours["rule"], "labelPadding": 8, "tickCount": 5}
    return {
        "aria": False,
        "background": background or colours["surface"],
        "font": FONT,
        "padding": 2,
        "range": {"category": [colours[role] for role in ROLES]},
        "view": {"stroke": None},
        "axis": {**text, **axis},
        "axisX": {"grid": False},
        "axisTemporal": {"grid": False},
        "legend": {**text, "orient": "top", "title": None, "symbolType": "square"},
        "title": {"color": colours["ink"], "fontSize": 14, "fontWeight": 600, "anchor": "start", "offset": 12},
        "bar": {"color": colours["base"], "binSpacing": 2},
        "line": {"color": colours["base"], "strokeWidth": 2},
        "rule": {"color": colours["quiet"]},
        "selection": {"interval": {"mark": {"fill": colours["ink"], "fillOpacity": 0.07, "stroke": colours["quiet"]}}},
        "text": {"fill": colours["ink"], "fontSize": 13},
        "style": {
            "name": {"fontSize": 13},
            "value": {"fontSize": 13, "fontWeight": 600},
            # a style's colour loses against the mark's own in Vega-Lite; its opacity does not
            "note": {"fontSize": 12, "opacity": 0.75},
        },
    }


def page_config() -> dict[str, Any]:
    """The configuration for a page that defines the CSS variables of ``css_variables()``."""
    return config({name: f"var(--{name})" for name in LIGHT}, background="transparent")


def css_variables(colours: Mapping[str, str]) -> str:
    """The colours as CSS declarations, one a name: ``--ink: #17202b;`` and so on."""
    return " ".join(f"--{name}: {value};" for name, value in colours.items())
