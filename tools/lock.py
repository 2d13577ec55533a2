"""Take the newest versions that ``pyproject.toml`` allows into ``requirements.lock``; one lock for Python 3.11 to 3.13.

A requirements file, since the formats made for locks write the address of the index beside every package. ``make lock
ARGS="--upgrade-package duckdb"`` takes one new version, ``ARGS=--upgrade`` all.
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
    """Write the lock; what is in it stays unless an option says otherwise."""
    command = [VENV / "bin" / "uv", "--quiet", "pip", "compile", ROOT / "pyproject.toml", *OPTIONS, "--output-file", LOCK, *sys.argv[1:]]
    return subprocess.run(command, env=environment(), cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
