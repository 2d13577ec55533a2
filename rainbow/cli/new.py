"""``rainbow new``: the beginnings of things of one's own."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rainbow import terminal

_HELP = """
Make a dashboard of your own: a notebook from a template, as a task of
pipeline.yaml and the last section of each report that is drawn from then on.

\b
  rainbow new dashboard best_teas
"""


def add_to(app: typer.Typer) -> None:
    """Add this module's command to the command line."""
    app.command(help=_HELP)(new)


def new(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What to make: dashboard.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name, small letters, digits and _.")],
) -> None:
    """Make a dashboard; see ``_HELP``."""
    from rainbow import pipeline
    from rainbow.errors import RainbowError

    if kind != "dashboard":
        raise RainbowError(f"there is no new {kind!r}: use `rainbow new dashboard NAME`")
    notebook = pipeline.add_dashboard(name).relative_to(pipeline.PROJECT_ROOT)
    out = terminal.console(file=sys.stdout)
    out.print(f"{notebook} is made, and pipeline.yaml has it as a part of the report", markup=False)
    out.print("open it with `make lab`; `rainbow report` draws the last complete partition's report with it", markup=False)
    out.print("reports that were drawn before are stale now: `reports/index.html` has the command that draws them anew", markup=False)
