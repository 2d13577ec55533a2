"""Code versions: a hash of some files of the project, worked out anew only when one of them has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


def of_files(root: Path, patterns: Iterable[str]) -> str:
    """A hash of the names and the content of the files under ``root`` that match the patterns."""
    found = sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_file())
    return _hash(root, tuple((path, path.stat().st_mtime_ns, path.stat().st_size) for path in found))


@lru_cache(maxsize=8)
def _hash(root: Path, files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in files:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
