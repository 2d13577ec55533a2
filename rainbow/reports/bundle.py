"""The scripts of a page: Vega as one file that needs no network, made once a version and kept in RAINBOW_HOME, and the page's own.

A page's content security policy lists the hashes of these two and so lets nothing else run, whatever a name in the data says.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files

from rainbow.reports.files import write_atomically
from rainbow.settings import settings


@dataclass(frozen=True)
class Script:
    """A script's text, and its hash as a content security policy names it."""

    text: str
    csp: str


def script(text: str) -> Script:
    """A script to set into a page; the text must hold no ``</script``."""
    digest = hashlib.sha256(text.encode()).digest()
    return Script(text, f"'sha256-{base64.b64encode(digest).decode()}'")


@lru_cache(maxsize=1)
def vega() -> Script:
    """Vega, Vega-Lite and vega-embed; made in about a second when the cache has none of the installed version."""
    cached = settings().home / "cache" / f"vega-{version('vl-convert-python')}.js"
    if not cached.exists():
        import vl_convert

        # in a function of its own: the bundle's names are single letters and would all be the page's
        bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
        write_atomically(cached, f"(() => {{{bundle}}})();")
    return script(cached.read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def page() -> Script:
    """The page's own script: draws the charts and switches between light and dark."""
    return script(template("page.js"))


@lru_cache(maxsize=1)
def style() -> str:
    """The style sheet of all pages."""
    return template("page.css")


def template(name: str) -> str:
    """The text of a file beside the templates."""
    return files("rainbow.reports").joinpath("templates", name).read_text(encoding="utf-8")
