"""HTML and Markdown from notebooks, made safe for a page: what is not on the list of harmless tags becomes text or is left out."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from html.parser import HTMLParser
from typing import Any

_TAGS = frozenset(
    (
        "table",
        "caption",
        "thead",
        "tbody",
        "tfoot",
        "tr",
        "th",
        "td",
        "div",
        "p",
        "span",
        "pre",
        "code",
        "br",
        "ul",
        "ol",
        "li",
        "b",
        "strong",
        "i",
        "em",
        "u",
        "s",
        "small",
        "sub",
        "sup",
        "h3",
        "h4",
        "h5",
        "h6",
    )
)
_EMPTY_TAGS = frozenset({"br"})
_ATTRIBUTES = frozenset({"colspan", "rowspan", "scope"})
_SKIPPED = frozenset({"script", "style", "template", "noscript", "iframe", "object", "svg", "math", "textarea", "title", "select"})


def harmless(html: str) -> str:
    """The HTML without scripts, styles, links, images and attributes; a table stays a table. What it says is kept as text."""
    cleaner = _Cleaner()
    cleaner.feed(html)
    cleaner.close()
    return cleaner.result()


def markdown(text: str) -> str:
    """Markdown as HTML; HTML within it is shown as text."""
    return str(_markdown()(text))


@lru_cache(maxsize=1)
def _markdown() -> Any:
    import mistune

    return mistune.create_markdown(escape=True, plugins=["table"])


class _Cleaner(HTMLParser):
    """Writes the tags of ``_TAGS`` anew and closes what is left open, so a piece cannot reach beyond itself."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._open: list[str] = []
        self._skipping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIPPED:
            self._skipping.append(tag)
        if self._skipping or tag not in _TAGS:
            return
        kept = "".join(f' {name}="{escape(value or "", quote=True)}"' for name, value in attrs if name in _ATTRIBUTES)
        self._parts.append(f"<{tag}{kept}>")
        if tag not in _EMPTY_TAGS:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._skipping:
            if tag == self._skipping[-1]:
                self._skipping.pop()
            return
        if tag not in self._open:
            return
        while True:
            closed = self._open.pop()
            self._parts.append(f"</{closed}>")
            if closed == tag:
                return

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._parts.append(escape(data))

    def result(self) -> str:
        return "".join(self._parts) + "".join(f"</{tag}>" for tag in reversed(self._open))
