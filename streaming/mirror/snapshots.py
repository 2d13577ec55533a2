"""Which initial snapshots the mirror saw, when it had all of one, and whether it lacks changes since: the table ``mirror._snapshots``, and
the views that go by it.

All state is in that table and in the group's offsets, so any mirror of the group can go on where another was killed.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clickhouse_connect.driver.exceptions import ClickHouseError

from rainbow.olap.client import words_of
from rainbow.olap.serving import serve
from rainbow.source.tables import BY_NAME
from streaming import topics
from streaming.progress import Offsets

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

log = logging.getLogger("rainbow.mirror")


# the transaction of what is no snapshot, but stands for changes that were lost: it never ends, until there is a newer snapshot
_NONE = 0


@dataclass(frozen=True)
class Noted:
    """A snapshot: its position, its transaction's id, whether its end was read, and whether the mirror has all of it."""

    lsn: int
    txid: int
    ended: bool
    completed: bool

    @property
    def is_spoilt(self) -> bool:
        """Whether changes that came after it were lost."""
        return self.txid == _NONE and not self.completed


class Snapshots:
    """The notes; safe to share between threads."""

    def __init__(self) -> None:
        self._newest: Noted | None = None
        self._lock = threading.Lock()
        # the end offsets that the group has to reach, by position of the snapshot
        self._targets: dict[int, dict[tuple[str, int], int]] = {}

    def load(self, client: Client) -> None:
        """Read what other mirrors, or this one before it was started again, have noted."""
        with self._lock:
            self._newest = newest(client)

    def begin(self, client: Client, lsn: int, txid: int) -> None:
        """Note a snapshot of which an event was read, unless a newer one is known. Before its rows are inserted, so that no view mixes them."""
        with self._lock:
            if self._newest is None or lsn > self._newest.lsn:
                self._newest = newest(client)
            if self._newest is None or lsn > self._newest.lsn:
                self._note(client, Noted(lsn, txid, False, False))
                serve_views(client)

    def end(self, client: Client, *, read_to: int) -> None:
        """Note that everything of the newest snapshot was read, up to a position: its last row's, or a later change's."""
        with self._lock:
            if self._newest and self._newest.ended:
                return
            self._newest = newest(client)
            if self._newest and not self._newest.ended and not self._newest.is_spoilt and read_to >= self._newest.lsn:
                self._note(client, Noted(self._newest.lsn, self._newest.txid, True, False))

    def spoil(self, client: Client, lsn: int | None) -> None:
        """Note that changes before this position were lost, for good unless a newer snapshot is known; None: it is not known which."""
        with self._lock:
            self._newest = found = newest(client)
            if found and not found.is_spoilt and (lsn is None or lsn >= found.lsn):
                self._note(client, Noted(lsn or found.lsn, _NONE, False, False))
                serve_views(client)

    @property
    def is_open(self) -> bool:
        """Whether a snapshot's end has still to be read, as far as this mirror knows."""
        return self._newest is not None and not self._newest.ended

    @property
    def is_done(self) -> bool:
        """Whether the mirror has all of the newest snapshot that this one knows of, or knows of none."""
        return self._newest is None or self._newest.completed

    def complete(self, client: Client, offsets: Offsets) -> bool:
        """Note that the mirror has all of the newest snapshot, if it has; whether that is so now."""
        with self._lock:
            found = newest(client)
            self._newest = found
            if found is None or found.completed or not found.ended:
                return found is not None and found.completed
            target = self._targets.setdefault(found.lsn, offsets.ends())
            # what has expired unread is told of by whose partition it is
            if offsets.behind(target) or any(topics.table_of(topic) in BY_NAME for topic, _ in offsets.expired(target)):
                return False
            self._note(client, Noted(found.lsn, found.txid, True, True))
            self._targets.clear()
            serve_views(client)
            return True

    def _note(self, client: Client, noted: Noted) -> None:
        client.command(
            f"""insert into mirror._snapshots (lsn, txid, ended_at, completed_at)
                select {noted.lsn}, {noted.txid}, {"now64(3)" if noted.ended else "null"}, {"now64(3)" if noted.completed else "null"}"""
        )
        self._newest = noted


def newest(client: Client) -> Noted | None:
    """The newest snapshot that any mirror noted."""
    rows: Any = client.query(
        "select lsn, txid, ended_at is not null, completed_at is not null from mirror._snapshots final order by lsn desc limit 1"
    ).result_rows
    return Noted(rows[0][0], rows[0][1], bool(rows[0][2]), bool(rows[0][3])) if rows else None


def serve_views(client: Client) -> None:
    """Make the unified views anew where the state of the snapshot or of the batch calls for it; cheap where it does not.

    Views that ClickHouse refuses to make do not stop the mirror: that is said, and tried again after some seconds.
    """
    try:
        serve(client)
    except ClickHouseError as error:
        if getattr(error, "code", None) is None:
            raise
        log.warning("the unified views cannot be made: %s", words_of(error))
