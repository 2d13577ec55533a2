"""Bring ``requirements.lock`` and ``requirements-dev.lock`` in step with ``pyproject.toml``; one pair for Python 3.11 to 3.13.

The first has what running needs, the second what tests and linters need besides. What is locked stays, unless it has to change:
``make lock ARGS="--upgrade-package duckdb"`` takes a newer version of one package, ``ARGS=--upgrade`` of all. Requirements files,
since the formats made for locks write the index's address beside every package. ``constraints.txt`` has the same versions without
their hashes, for conda, whose pip cannot check hashes and install this project.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from install import DEV_LOCK, LOCK, ROOT, VENV, environment

OPTIONS = (
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-emit-find-links",
)


def main() -> int:
    """Write the three files."""
    with tempfile.TemporaryDirectory() as folder:
        whole, running = Path(folder) / "whole", Path(folder) / "running"
        whole.write_text("\n".join(entries(LOCK, DEV_LOCK)) + "\n", encoding="utf-8")
        if code := compiled("--group=install", "--group=dev", "--output-file", whole, *sys.argv[1:]):
            return code
        if code := compiled("--group=install", "--constraint", whole, "--output-file", running):
            return code
        needed = entries(running)
        LOCK.write_text("\n".join(needed) + "\n", encoding="utf-8")
        DEV_LOCK.write_text("\n".join(entry for entry in entries(whole) if entry not in needed) + "\n", encoding="utf-8")
    (ROOT / "constraints.txt").write_text("\n".join(versions(LOCK, DEV_LOCK)) + "\n", encoding="utf-8")
    return 0


def compiled(*options: object) -> int:
    """Ask uv which versions go together; its exit code."""
    command = [VENV / "bin" / "uv", "--quiet", "pip", "compile", ROOT / "pyproject.toml", *OPTIONS, *options]
    return subprocess.run([str(word) for word in command], env=environment(), cwd=ROOT, check=False).returncode


def entries(*locks: Path) -> list[str]:
    """The packages of locks by name, each with its hashes."""
    found = [entry for lock in locks if lock.exists() for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.read_text(encoding="utf-8").strip())]
    return sorted(found, key=lambda entry: re.split(r"[= ]", entry, maxsplit=1)[0])


def versions(*locks: Path) -> list[str]:
    """The same without their hashes."""
    return [entry.splitlines()[0].rstrip(" \\") for entry in entries(*locks)]


if __name__ == "__main__":
    sys.exit(main())
