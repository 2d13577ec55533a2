"""The pipeline as ``pipeline.yaml`` has it: which notebooks there are, and which of them the report is made of.

Ploomber carries it out (``rainbow.runs``); here it is only read, so that a dashboard more is a task more in that file.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from rainbow.settings import PROJECT_ROOT

FILE = PROJECT_ROOT / "pipeline.yaml"
REPORT = "report"


def spec() -> dict[str, Any]:
    """What the file says; not to be changed by who reads it."""
    return _spec(FILE, FILE.stat().st_mtime_ns)


def dashboards() -> tuple[str, ...]:
    """The dashboards that the report shows, in its order."""
    report = next(task for task in spec()["tasks"] if task["name"] == REPORT)
    return tuple(report["upstream"])


@lru_cache(maxsize=2)
def _spec(file: Path, _changed: int) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found
