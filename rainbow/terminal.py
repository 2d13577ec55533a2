"""Consoles for the command line, on which text from the data is text: what could move the cursor, recolour the screen or turn the
words beside it around is shown as an escape, ``\\x1b``, and does nothing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

_SHOWN = "\n\t"
# control characters, invisible format characters (the bidirectional ones among them), half surrogates, and line ends beside \n
_ESCAPED = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# joiners are part of how names are written in several scripts
_JOINERS = "\u200c\u200d"


def console(**options: Any) -> Console:
    """A rich console of these options."""
    made = Console(**{"soft_wrap": True, "highlight": False, **options})
    made.push_render_hook(_Harmless())
    return made


def harmless(text: str) -> str:
    """The text with each character that acts instead of being seen as its escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _ESCAPED and c not in _SHOWN and c not in _JOINERS else c for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _Harmless(RenderHook):
    """Puts every renderable into one that escapes what it says; what rich itself sends to steer the terminal stays."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Escaped(one) for one in renderables]


class _Escaped:
    def __init__(self, renderable: ConsoleRenderable) -> None:
        self.renderable = renderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _escaped(console.render(self.renderable, options))


def _escaped(segments: Iterable[Segment]) -> Iterable[Segment]:
    for segment in segments:
        yield segment if segment.control else Segment(harmless(segment.text), segment.style, segment.control)
