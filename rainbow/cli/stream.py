"""``rainbow stream``: the speed layer's processes."""

from __future__ import annotations

import logging
import signal
import sys

import typer

_HELP = """
The speed layer: changes of the shop's database on their way into ClickHouse.

\b
  rainbow stream capture
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


def add_to(app: typer.Typer) -> None:
    """Add this module's commands to the command line."""
    group = typer.Typer(help=_HELP, no_args_is_help=True)
    # a group of one command would be that command
    group.callback()(lambda: None)
    group.command(help=_CAPTURE_HELP)(capture)
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


def _log(name: str) -> None:
    """Let a process say what happens to it, a line each, with the time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
