"""``rainbow schedule``: each day's partition by itself."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Annotated

import typer

from rainbow import interrupts, terminal
from rainbow.cli.runs import Quiet

_SCHEDULE_HELP = """
Run each day's partition when the day has ended, at 00:00 UTC, after those that
were missed and those that are stale, in order. What fails is tried again a few
times. A run by hand is waited for.

With --once, do what is due now and end; the exit code is 1 when a partition is
still not done then.

\b
  rainbow schedule
  rainbow schedule --at 02:30 --catch-up 7
  rainbow schedule --once --quiet
"""


def add_to(app: typer.Typer) -> None:
    """Add this module's command to the command line."""
    app.command(help=_SCHEDULE_HELP)(schedule)


def schedule(
    at: Annotated[str, typer.Option("--at", metavar="HH:MM", help="When a day's data have all arrived, of the next day, UTC.")] = "00:00",
    catch_up: Annotated[
        int, typer.Option("--catch-up", metavar="DAYS", min=1, help="How far back missed and stale days are caught up on.")
    ] = 31,
    retries: Annotated[int, typer.Option("--retries", min=0, help="How often a day that fails is tried again, in growing pauses.")] = 5,
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, then end; for cron.")] = False,
    quiet: Quiet = False,
) -> None:
    """Run partitions as they become due; see ``_SCHEDULE_HELP``."""
    # held from the start, since a run sends both streams into a log
    out, err = (terminal.console(file=stream, markup=False) for stream in (sys.stdout, sys.stderr))

    def say(line: str) -> None:
        if not quiet:
            out.print(f"{_now():%Y-%m-%d %H:%M:%S}  {line}")

    def warn(line: str) -> None:
        err.print(f"{_now():%Y-%m-%d %H:%M:%S}  {line}")

    all_is_done = True
    with _ended_by_signals() as end:
        from rainbow.errors import RainbowError
        from rainbow.runs.schedule import LedgerWork, Timetable, follow, parse_time

        timetable = Timetable(parse_time(at), catch_up, retries)
        work = LedgerWork(clock=_now, pause=end.pause, say=say)
        with work.alone() as alone:
            if not alone and not once:
                raise RainbowError("another schedule is at work: stop it first, or use --once")
            if not alone:
                say("another schedule is at work, and does what is due")
                return
            if not once:
                say(f"each day's partition is run at {at} UTC of the next day; {catch_up} days are caught up on")
            all_is_done = follow(timetable, work, clock=_now, pause=end.pause, say=say, warn=warn, once=once)
    if end.by == signal.SIGTERM:
        say("stopped; what was under way is run again by the next schedule")
    elif not all_is_done:
        raise typer.Exit(1)


def _now() -> datetime:
    return datetime.now(UTC)


class _End:
    """Which signal has asked for the end."""

    by: int | None = None

    def pause(self, seconds: float) -> None:
        """Wait. Raises KeyboardInterrupt when the end was asked for, even if a library has swallowed the signal's own."""
        if self.by is None:
            time.sleep(seconds)
        if self.by is not None:
            raise KeyboardInterrupt


@contextmanager
def _ended_by_signals() -> Iterator[_End]:
    """Ctrl-C and SIGTERM end what is under way, as KeyboardInterrupt; the block ends without an error after SIGTERM, which is how
    systemd stops a service."""
    end = _End()

    def ask(number: int, frame: FrameType | None) -> None:
        end.by = number
        interrupts.ask(number, frame)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield end
    except KeyboardInterrupt:
        if end.by != signal.SIGTERM:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
