"""What outlives a connection: the wish to stop, where the slot is known to be, and the figures that are shown."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from streaming.capture.catalog import Standing


class StoppedError(Exception):
    """The stop was asked for, and what was under way cannot be brought to an end."""


@dataclass
class State:
    """``confirmed``: all events before this position are acknowledged, on the server of ``timeline``; ``met``: tables that joined meanwhile.

    ``process`` and ``side`` are the server processes of its two connections. ``published``: what was published a moment ago, None when
    nobody has looked.
    """

    stopping: float | None = None
    process: int | None = None
    side: int | None = None
    timeline: str = ""
    confirmed: int = 0
    met: set[int] = field(default_factory=set)
    published: Standing | None = None

    phase: str = "starting"
    counts: dict[str, int] = field(default_factory=dict)
    snapshots: int = 0
    snapshot_rows: int = 0
    pending: int = 0
    dead_letters: int = 0
    committed_ms: int = 0

    def stop(self) -> None:
        """Ask for the stop."""
        if self.stopping is None:
            self.stopping = time.monotonic()

    def check(self) -> None:
        """Raise StoppedError when the stop was asked for."""
        if self.stopping is not None:
            raise StoppedError

    @property
    def events(self) -> int:
        """Events sent so far, those of snapshots included."""
        return sum(self.counts.values()) + self.snapshot_rows
