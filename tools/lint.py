"""Every linter, two at a time, each with the files that are its own: ruff, mypy, sqlfluff, nbstripout. ``--fix`` puts layout right.

mypy does not look into the notebooks, and nothing here asks the network.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Linter:
    """A command that is silent or brief when all is well and exits with something else than 0 when not."""

    name: str
    command: tuple[str, ...]


def linters(*, fix: bool) -> list[Linter]:
    """What is run, the longest first; with ``fix``, what changes files instead."""
    notebooks = tuple(
        sorted(
            str(path.relative_to(ROOT))
            for path in (*(ROOT / "notebooks").rglob("*.ipynb"), *(ROOT / "rainbow" / "templates").glob("*.ipynb"))
            if ".ipynb_checkpoints" not in path.parts
        )
    )
    packages = tuple(word for name in ("rainbow", "api", "streaming") if (ROOT / name).is_dir() for word in ("--package", name))
    sql = ("dbt/models", "dbt/tests")
    if fix:
        return [
            Linter("nbstripout", ("nbstripout", *notebooks)),
            Linter("ruff", ("ruff", "check", "--fix", "--quiet", ".")),
            Linter("ruff format", ("ruff", "format", ".")),
            Linter("sqlfluff", ("sqlfluff", "fix", "--processes", "2", "--disable-progress-bar", *sql)),
        ]
    return [
        Linter("mypy", ("mypy", *packages)),
        Linter("sqlfluff", ("sqlfluff", "lint", "--disable-progress-bar", *sql)),
        Linter("ruff", ("ruff", "check", ".")),
        Linter("ruff format", ("ruff", "format", "--check", ".")),
        Linter("nbstripout", ("nbstripout", "--verify", *notebooks)),
    ]


def run(linter: Linter) -> bool:
    """Run a linter; one line when it is content, else all it says."""
    began = time.monotonic()
    result = subprocess.run(
        [BIN / linter.command[0], *linter.command[1:]],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    good = result.returncode == 0
    line = f"{linter.name:<11} {'ok' if good else 'FAILED':<6} {time.monotonic() - began:5.1f} s"
    print(line if good else f"{line}\n{result.stdout.rstrip()}", flush=True)
    return good


def main() -> int:
    """Run all; 1 when one is not content."""
    fix = "--fix" in sys.argv[1:]
    # what changes files goes one after the other: ruff lays out what nbstripout has written
    with ThreadPoolExecutor(max_workers=1 if fix else 2) as pool:
        return 0 if all(list(pool.map(run, linters(fix=fix)))) else 1


if __name__ == "__main__":
    sys.exit(main())
