"""``rainbow stream``: the speed layer's processes, and how far they are."""

from __future__ import annotations

import json
import logging
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.table import Table

from rainbow import terminal

if TYPE_CHECKING:
    from streaming.progress import Status

_HELP = """
The speed layer: changes of the shop's database on their way into ClickHouse.

\b
  rainbow stream capture
  rainbow stream mirror
  rainbow stream status --watch
"""

_CAPTURE_HELP = """
Send each change of the shop's tables to Kafka, until Ctrl-C: a snapshot of all
rows first, then what is committed, as it is committed.

It begins where it stopped, whatever ended it. When PostgreSQL or Kafka does not
answer, it waits and tries again. One a shop is enough, a second one is refused.

\b
  rainbow stream capture
  RAINBOW_CAPTURE_METRICS_PORT=9401 rainbow stream capture
"""

_MIRROR_HELP = """
Keep ClickHouse's copy of the shop's tables by the events in Kafka, until Ctrl-C.

Several may run at once and share the work. What ClickHouse or Kafka does not
answer is tried again; what cannot be used goes to the topic
rainbow.dead-letters, with the reason.

\b
  rainbow stream mirror
  RAINBOW_MIRROR_METRICS_PORT=9402 rainbow stream mirror
"""

_STATUS_HELP = """
Show how far capture and the mirror are: the slot's lag, and for each table,
whose topic is rainbow.public.<table>, the records still to read, records a
second, the newest change and dead letters.

\b
  rainbow stream status
  rainbow stream status --watch
  rainbow stream status --json
"""

_FORGET_HELP = """
Drop the slot, the topics of the shop's changes and ClickHouse's copy of the
shop's tables, so that the speed layer begins anew with a snapshot.

It is for a PostgreSQL that was restored to an earlier time, or is another one:
positions in its log no longer tell which change is newer. Stop capture and the
mirror first. The batch views stay, and charts show them alone meanwhile.

\b
  rainbow stream forget
  rainbow stream forget --yes
"""

# seconds over which records a second are counted
_SAMPLE = 1.0


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    group = typer.Typer(help=_HELP, no_args_is_help=True)
    group.command(help=_CAPTURE_HELP)(capture)
    group.command(help=_MIRROR_HELP)(mirror)
    group.command(help=_STATUS_HELP)(status)
    group.command(help=_FORGET_HELP)(forget)
    app.add_typer(group, name="stream")


def capture() -> None:
    """Capture until stopped; see ``_CAPTURE_HELP``."""
    from rainbow.settings import settings
    from streaming.capture import run

    for service in ("kafka", "postgres"):
        settings().url_of(service)
    _log("rainbow.capture")

    def stop_by_signal(running: run.Capture) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.stop())

    run.run(stop_by_signal)


def mirror() -> None:
    """Mirror until stopped; see ``_MIRROR_HELP``."""
    from rainbow.settings import settings
    from streaming.mirror import consumer

    for service in ("kafka", "clickhouse"):
        settings().url_of(service)
    _log("rainbow.mirror")

    def stop_by_signal(running: consumer.Mirror) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: running.stop())

    consumer.run(stop_by_signal)


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Show it again every second, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; with --watch an object a line.")] = False,
) -> None:
    """Show how far the speed layer is; see ``_STATUS_HELP``."""
    from streaming.progress import Watch

    watching = Watch()
    watching.status()
    if not watch:
        time.sleep(_SAMPLE)
        found = watching.status()
        typer.echo(_as_json(found)) if as_json else terminal.console().print(_shown(found))
        return
    if as_json:
        while True:
            time.sleep(_SAMPLE)
            typer.echo(_as_json(watching.status()))
    with Live(auto_refresh=False) as live:
        while True:
            time.sleep(_SAMPLE)
            live.update(_shown(watching.status()), refresh=True)


def forget(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
) -> None:
    """Begin anew; see ``_FORGET_HELP``."""
    if not yes:
        typer.confirm("Drop the slot, the topics and the mirror's tables?", abort=True)
    from streaming.forgetting import forget as forget_all

    forget_all()
    typer.echo("the slot, the topics and the mirror's tables are gone; `rainbow stream capture` and `rainbow stream mirror` begin anew")


def _as_json(found: Status) -> str:
    slot = found.slot
    return json.dumps(
        {
            "at": found.at.isoformat(),
            "slot": slot
            and {
                "confirmed_lsn": slot.confirmed,
                "written_lsn": slot.written,
                "lag_bytes": slot.lag,
                "lag_seconds": slot.seconds,
                "active": slot.active,
                "wal_status": slot.status,
            },
            "tables": [
                {
                    "topic": table.topic,
                    "table": table.table,
                    "records": table.records,
                    "lag": table.lag,
                    "records_per_second": table.rate,
                    "last_event": table.last_event and table.last_event.isoformat(),
                    "dead_letters": table.dead_letters,
                }
                for table in found.tables
            ],
        }
    )


def _shown(found: Status) -> Table:
    slot = found.slot
    if slot is None:
        state = "no slot: `rainbow stream capture` has not run here"
    else:
        seconds = "" if slot.seconds is None else f", {slot.seconds:.1f} s"
        state = f"slot {slot.lag:,} bytes{seconds} behind, {'read by capture' if slot.active else 'nobody reads it'}, {slot.status}"
    # fits into 80 columns
    shown = Table(title=state, title_justify="left", box=None, pad_edge=False, title_style="")
    shown.add_column("table")
    for name in ("records", "lag", "records/s"):
        shown.add_column(name, justify="right")
    shown.add_column("newest change, UTC")
    shown.add_column("dead letters", justify="right")
    for table in found.tables:
        shown.add_row(
            table.table,
            f"{table.records:,}",
            f"{table.lag:,}",
            "" if table.rate is None else f"{table.rate:,.0f}",
            "" if table.last_event is None else f"{table.last_event:%Y-%m-%d %H:%M:%S.%f}"[:-3],
            f"{table.dead_letters:,}",
            style="yellow" if table.dead_letters else "",
        )
    return shown


def _log(name: str) -> None:
    """Let a process say what happens to it, a line each, with the time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
