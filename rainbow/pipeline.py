"""The pipeline as ``pipeline.yaml`` has it: which notebooks there are, and which of them the report is made of.

Ploomber carries it out (``rainbow.runs``). A dashboard more is a notebook more and a task more in that file, which
``add_dashboard`` writes.
"""

from __future__ import annotations

import json
import keyword
import re
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rainbow.errors import RainbowError
from rainbow.settings import PROJECT_ROOT

FILE = PROJECT_ROOT / "pipeline.yaml"
REPORT = "report"
NOTEBOOKS = PROJECT_ROOT / "notebooks" / "dashboards"
_NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
# what a report's folder has under a name of its own
_TAKEN = ("sales", "index")
_TASK = """\
  - source: notebooks/dashboards/{name}.ipynb
    name: {name}
    upstream: publish
    product: "{{{{reports}}}}/{{{{partition_date}}}}/{name}.ipynb"
    params: {{partition_date: "{{{{partition_date}}}}"}}
    executor: ploomber-engine

"""
_REPORT_TASK = re.compile(
    r"(?P<task>^  - source: rainbow\.batch\.report\.render\n(?:    .*\n)*?    upstream: \[)(?P<names>[^\]]*)\]", re.MULTILINE
)


def spec() -> dict[str, Any]:
    """What the file says; not to be changed by who reads it."""
    return _spec(FILE, FILE.stat().st_mtime_ns)


def dashboards() -> tuple[str, ...]:
    """The dashboards that the report shows, in its order."""
    report = next(task for task in spec()["tasks"] if task["name"] == REPORT)
    return tuple(report["upstream"])


def add_dashboard(name: str) -> Path:
    """Make a dashboard from the template and put it into the pipeline, last in the report; returns the notebook.

    Raises RainbowError, and changes nothing, for a name that cannot be used or is taken.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise RainbowError(f"{name!r} is no name for a dashboard: use 2 to 40 small letters, digits and _, a letter first, as in best_teas")
    notebook = NOTEBOOKS / f"{name}.ipynb"
    if name in _TAKEN or any(task["name"] == name for task in spec()["tasks"]) or notebook.exists():
        raise RainbowError(f"the name {name} is taken: choose another name, or edit notebooks/dashboards/{name}.ipynb")
    text = FILE.read_text(encoding="utf-8")
    changed, count = _REPORT_TASK.subn(lambda found: f"{_TASK.format(name=name)}{found['task']}{found['names']}, {name}]", text)
    if count != 1:
        raise RainbowError(
            "pipeline.yaml has no report task with a list of dashboards after `upstream:`: put the dashboard into it by hand"
        )
    template = files("rainbow").joinpath("templates", "dashboard.ipynb").read_text(encoding="utf-8")
    title = json.dumps(name.replace("_", " ").capitalize())[1:-1]
    notebook.write_text(template.replace("TITLE", title), encoding="utf-8")
    FILE.write_text(changed, encoding="utf-8")
    return notebook


@lru_cache(maxsize=2)
def _spec(file: Path, _changed: int) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.load(file.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found
