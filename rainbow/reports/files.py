"""Writing a page so that a reader sees the old one or the new one, never half of it; and links from one page to another."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import quote


def write_atomically(destination: Path, text: str) -> Path:
    """Write ``text`` to ``destination``, making its folder; a crash leaves what was there."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        # mkstemp's mode is 600; a page is for everybody whom the folder lets in
        part.chmod(0o644)
        part.replace(destination)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return destination


def link(target: Path, page: Path) -> str:
    """The relative URL of ``target`` as seen from ``page``; reports can be moved as a folder."""
    return quote(Path(os.path.relpath(target, page.parent)).as_posix())
