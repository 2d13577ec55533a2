"""The local stack's commands: up, down, status, logs, doctor."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

Services = Annotated[list[str] | None, typer.Argument(help="postgres, bigquery, clickhouse; default: all.", show_default=False)]

STATE_STYLES = {"up": "green", "down": "dim", "unhealthy": "red"}


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    for command in (up, down, status):
        app.command()(command)


def up(services: Services = None) -> None:
    """Start the local services that no setting names, and wait until they answer."""
    from rainbow import stack

    console = Console(soft_wrap=True, highlight=False)
    stack.up(services, lambda done: console.print(f"{done.service:<11} {done.event} in {done.seconds:.1f} s  {done.url}", markup=False))


def down(services: Services = None) -> None:
    """Stop the local services; their data stay."""
    from rainbow import stack

    console = Console(soft_wrap=True, highlight=False)
    stack.down(services, lambda done: console.print(f"{done.service:<11} {done.event} in {done.seconds:.1f} s", markup=False))


def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON, URLs with their passwords.")] = False) -> None:
    """Show state and URL of every service, local or not."""
    from rainbow import stack
    from rainbow.stack.service import masked

    states = stack.status()
    if as_json:
        typer.echo(json.dumps({"services": states}, indent=2))
        return
    table = Table("service", "state", "URL", box=None, pad_edge=False)
    for name, entry in states.items():
        table.add_row(name, f"[{STATE_STYLES[entry['state']]}]{entry['state']}[/]", masked(entry["url"]) if entry["url"] else "")
    Console(soft_wrap=True, highlight=False).print(table)
