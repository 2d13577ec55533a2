"""Reads an executed notebook as blocks that a page can show: text, code, charts, tables, and the error it stopped at.

The file is read as JSON (notebook format 4): nbformat's validation costs more than rendering. Data in it is not trusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from rainbow.charts.elements import FRAGMENT_MIME, VEGALITE_MIME
from rainbow.charts.theme import ROLES
from rainbow.errors import DataError
from rainbow.reports.markup import harmless, markdown

_TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_DRAWN_AFRESH = ("$schema", "title", "usermeta", "config", "width")


@dataclass(frozen=True)
class Block:
    """A piece of a page: safe HTML, plain text, an image's base64, or a chart's specification as JSON that a script element may hold."""

    kind: Literal["markdown", "code", "html", "text", "image", "chart", "error"]
    html: str | Markup = ""
    text: str = ""
    title: str = ""
    note: str = ""
    half: bool = False
    legend: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Executed:
    """An executed notebook. ``about`` is what its first answer says of itself (see charts.serving.Scope.about), or empty."""

    path: Path
    title: str
    blocks: tuple[Block, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name without its ending, which also names its section in a page."""
        return self.path.stem

    @property
    def intro(self) -> list[Block]:
        """The text under the title."""
        return [block for block in self.blocks if block.kind == "markdown"][:1]

    @property
    def results(self) -> list[Block]:
        """What the cells gave: the blocks without code and text."""
        return [block for block in self.blocks if block.kind not in {"markdown", "code"}]

    @property
    def error(self) -> str:
        """The error that stopped the notebook, in one line; empty when none did."""
        return next((block.title for block in self.blocks if block.kind == "error"), "")


def read(path: Path) -> Executed:
    """Read an executed notebook. Raises DataError when it is not there or is no notebook of format 4."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells = notebook["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.name} cannot be read as an executed notebook: {error}; run its partition again") from error
    title = path.stem.replace("_", " ").capitalize()
    blocks: list[Block] = []
    about: dict[str, Any] = {}
    for cell in cells:
        source = _joined(cell.get("source", ""))
        if cell["cell_type"] == "markdown":
            heading = re.match(r"\s*#\s+(.+)", source)
            if heading and not any(block.kind == "markdown" for block in blocks):
                title, source = heading[1].strip(), source[heading.end() :]
            blocks.append(Block("markdown", html=Markup(markdown(source))))
        elif cell["cell_type"] == "code":
            if source.strip():
                blocks.append(Block("code", text=source, tags=tuple(cell.get("metadata", {}).get("tags", ()))))
            for output in cell.get("outputs", ()):
                about = about or _about(output)
                blocks.extend(_blocks(output))
    return Executed(path, title, tuple(blocks), about)


def _about(output: Mapping[str, Any]) -> dict[str, Any]:
    about = output.get("data", {}).get(FRAGMENT_MIME) or {}
    return about if about.get("partition_date") else {}


def _blocks(output: Mapping[str, Any]) -> Iterator[Block]:
    """The block of an output; of several forms the richest that is safe."""
    match output["output_type"]:
        case "stream":
            text = _readable(output.get("text", ""))
            if text.strip():
                yield Block("text", text=text)
        case "error":
            reason = _readable(output.get("evalue", "")).strip()
            title = f"{output.get('ename', 'Error')}: {reason.splitlines()[0] if reason else ''}".rstrip(": ")
            yield Block("error", title=title, text=_readable("\n".join(output.get("traceback", ()))))
        case _:
            yield from data_blocks(output.get("data", {}))


def data_blocks(data: Mapping[str, Any]) -> Iterator[Block]:
    """The block of an output given in several forms, by MIME type."""
    text = _readable(data.get("text/plain", ""))
    if VEGALITE_MIME in data:
        spec = data[VEGALITE_MIME]
        about = spec.get("usermeta", {})
        drawn = {key: value for key, value in spec.items() if key not in _DRAWN_AFRESH}
        yield Block(
            "chart",
            html=Markup(_json_for_script({**drawn, "width": "container"})),
            text=about.get("alt") or text,
            title=about.get("title", ""),
            note=about.get("note", ""),
            half=bool(about.get("half")),
            legend=tuple((role, name) for role, name in about.get("legend", ()) if role in ROLES),
        )
    elif "text/html" in data:
        html = _joined(data["text/html"])
        yield Block("html", html=Markup(html if FRAGMENT_MIME in data else harmless(html)), text=text)
    elif "image/png" in data:
        yield Block("image", text=text, html=Markup(re.sub(r"[^A-Za-z0-9+/=]", "", _joined(data["image/png"]))))
    elif text.strip():
        yield Block("text", text=text)


def _json_for_script(value: Any) -> str:
    """JSON that can stand in a script element: no ``<`` that could end it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _readable(text: str | list[str]) -> str:
    return _TERMINAL_COLOURS.sub("", _joined(text))
