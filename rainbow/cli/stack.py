"""The local stack's commands: up, down, status, logs, doctor."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from rainbow import terminal

if TYPE_CHECKING:
    from rainbow.stack.control import Progress

Services = Annotated[
    list[str] | None, typer.Argument(help="postgres, bigquery, clickhouse, kafka, capture, mirror; default: all.", show_default=False)
]

_UP_HELP = """
Start the local services that no setting names, and wait until they answer.
The batch layer needs no Kafka, capture and mirror: they are started with
--stream only.

\b
  rainbow up
  rainbow up postgres clickhouse
  rainbow up --stream
  rainbow up --stream --brokers 3
"""

_DOWN_HELP = """
Stop the local services; their data stay.

\b
  rainbow down
"""

_STATUS_HELP = """
Show state and URL of every service, local or not.

\b
  rainbow status
  rainbow status --json
"""

_LOGS_HELP = """
Show what the local services print.

\b
  rainbow logs
  rainbow logs postgres --follow --lines 100
"""

_DOCTOR_HELP = """
Check this machine and every endpoint that the settings name, and say what to
do about what is wrong; exit 1 if something is.

\b
  rainbow doctor
"""

STATE_STYLES = {"up": "green", "down": "dim", "unhealthy": "red"}


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    for command, text in ((up, _UP_HELP), (down, _DOWN_HELP), (status, _STATUS_HELP), (logs, _LOGS_HELP), (doctor, _DOCTOR_HELP)):
        app.command(help=text)(command)


def up(
    services: Services = None,
    stream: Annotated[bool, typer.Option("--stream", help="Start the speed layer, too: Kafka, capture, mirror.")] = False,
    brokers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=9,
            help="How many brokers Kafka has, kept from then on; with no services named it implies --stream.",
            show_default="1",
        ),
    ] = None,
) -> None:
    """See ``_UP_HELP``."""
    from rainbow import stack
    from rainbow.stack import control, kafka

    if brokers:
        kafka.choose_brokers(brokers)
    if stream or (brokers and not services):
        services = [*(services or control.BATCH), *control.STREAM]
    stack.up(services, _print_progress)


def down(services: Services = None) -> None:
    """See ``_DOWN_HELP``."""
    from rainbow import stack

    stack.down(services, _print_progress)


def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON, URLs with their passwords.")] = False) -> None:
    """See ``_STATUS_HELP``."""
    from rainbow import stack
    from rainbow.stack.service import masked

    states = stack.status()
    if as_json:
        typer.echo(json.dumps({"services": states}, indent=2))
        return
    table = Table("service", "state", "URL", box=None, pad_edge=False)
    for name, entry in states.items():
        table.add_row(name, f"[{STATE_STYLES[entry['state']]}]{entry['state']}[/]", masked(entry["url"]) if entry["url"] else "")
    terminal.console().print(table)


def logs(
    services: Services = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines of each log.")] = 20,
) -> None:
    """See ``_LOGS_HELP``."""
    from rainbow.stack import logs

    single = len(logs.places(services)) == 1
    for source in (logs.last(services, lines), logs.follow(services) if follow else ()):
        for name, line in source:
            typer.echo(line if single else f"{name:<11} {line}")


def doctor() -> None:
    """See ``_DOCTOR_HELP``."""
    from rainbow.stack.doctor import examine

    # the clients' own warnings would stand between the lines
    logging.disable()
    console = terminal.console()
    findings = examine()
    for finding in findings:
        mark = "[green]ok   [/]" if finding.good else "[red]wrong[/]"
        advice = f" -> {finding.advice}" if finding.advice else ""
        console.print(f"{mark} {finding.about:<11}", end="")
        console.print(f"{finding.text}{advice}", markup=False)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)


def _print_progress(done: Progress) -> None:
    seconds = "" if done.seconds is None else f"in {done.seconds:.1f} s"
    terminal.console().print(f"{done.service:<11} {done.event:<8} {seconds:<9} {done.url}".rstrip(), markup=False)
