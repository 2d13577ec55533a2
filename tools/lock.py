"""Bring ``requirements.lock`` in step with ``pyproject.toml``; one lock for Python 3.11 to 3.13.

What is locked stays, unless it has to change: ``make lock ARGS="--upgrade-package duckdb"`` takes a newer version of one package,
``ARGS=--upgrade`` of all. A requirements file, since the formats made for locks write the index's address beside every package.
``constraints.txt`` has the same versions without their hashes, for conda, whose pip cannot check hashes and install this project.
"""

from __future__ import annotations

import subprocess
import sys

from install import LOCK, ROOT, VENV, environment

OPTIONS = (
    "--group=dev",
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-emit-find-links",
)


def main() -> int:
    """Write both files."""
    command = [VENV / "bin" / "uv", "--quiet", "pip", "compile", ROOT / "pyproject.toml", *OPTIONS, "--output-file", LOCK, *sys.argv[1:]]
    code = subprocess.run(command, env=environment(), cwd=ROOT, check=False).returncode
    if code == 0:
        (ROOT / "constraints.txt").write_text(constraints(LOCK.read_text(encoding="utf-8")), encoding="utf-8")
    return code


def constraints(lock: str) -> str:
    """The lock without its hashes."""
    entries = [line.rstrip(" \\") for line in lock.splitlines() if line[:1].isalnum()]
    return "\n".join(entries) + "\n"


if __name__ == "__main__":
    sys.exit(main())
