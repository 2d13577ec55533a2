"""Templates as pages: one file each that needs nothing else, with a policy that lets only its own scripts run.

Templates escape whatever they are given, except HTML that is marked as safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from rainbow.charts import formats, theme
from rainbow.reports import bundle
from rainbow.reports.bundle import Script


def render(
    template: str, *, draws: bool = False, asks: bool = False, scripts: Sequence[Script] = (), styles: Sequence[str] = (), **values: Any
) -> str:
    """A page from a template. ``draws`` brings what draws charts; ``scripts`` and ``styles`` come after those of all pages.

    Only a page that ``asks`` may call the server that it came from.
    """
    asked = "connect-src 'self'; " if asks else ""
    all_scripts = [*([bundle.vega()] if draws else []), bundle.page(), *scripts]
    return (
        _environment()
        .get_template(template)
        .render(
            **values,
            draws=draws,
            csp=f"default-src 'none'; {asked}script-src {' '.join(script.csp for script in all_scripts)}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'",
            scripts=[Markup(script.text) for script in all_scripts],
            style=Markup("\n".join([bundle.style(), *styles])),
            light=Markup(theme.css_variables(theme.LIGHT)),
            dark=Markup(theme.css_variables(theme.DARK)),
            config=Markup(_config()),
        )
    )


def part(template: str, macro: str, *arguments: Any) -> str:
    """A piece of a page: what a template's macro makes of its arguments."""
    return str(getattr(_environment().get_template(template).module, macro)(*arguments))


@lru_cache(maxsize=1)
def _config() -> str:
    import json

    return json.dumps(theme.page_config()).replace("<", "\\u003c")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("rainbow.reports"), PackageLoader("rainbow.reports.catalogue")]),
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
        "seconds": formats.duration,
    }
    return environment
