"""The loop: read what has arrived, send its events, confirm what the broker has acknowledged, and keep the connection alive meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

from streaming.capture.changes import Changes
from streaming.capture.outbox import Outbox
from streaming.capture.state import State, StoppedError
from streaming.capture.wire import GIVE_UP_AFTER, Replication, SilentError

_MESSAGES_AT_ONCE = 5000

# seconds: between two confirmations, at least and at most
_CONFIRM_LEAST, _CONFIRM_MOST = 0.05, 2.0
# under load, how long nothing is confirmed
_DRAIN_AFTER = 1.0
# of silence, after which the server is asked whether it is there
_ASK_AFTER = 5.0
# that a stop waits for the end of a transaction, and for the broker
_STOP_WITHIN = 8.0
# between two looks at the figures
_TALLY_EVERY = 0.5


class Stream:
    """A slot's changes on their way to the broker; ``run`` ends when the stop is asked for, or ``leave`` was set.

    ``may_go_on`` is asked again and again whether the stream still brings all changes; it is left when not.
    """

    def __init__(self, replication: Replication, outbox: Outbox, state: State, may_go_on: Callable[[], bool]) -> None:
        self._replication, self._outbox, self._state, self._may_go_on = replication, outbox, state, may_go_on
        self.leave = False
        self._told = 0
        self._heard = self._sent = self._drained = time.monotonic()
        self._tallied = 0.0
        self._earlier = dict(state.counts)

    def run(self, changes: Changes) -> None:
        """Stream. Raises psycopg.OperationalError when the connection ends, KafkaException for what the broker refuses."""
        replication, outbox, state = self._replication, self._outbox, self._state
        while True:
            messages = replication.read(_MESSAGES_AT_ONCE)
            now = time.monotonic()
            if messages:
                self._heard = now
                changes.handle(messages)
            outbox.poll()
            self._settle(changes, now)
            self._confirm(changes, now)
            if now - self._tallied > _TALLY_EVERY:
                self._tally(changes, now)
            self.leave = self.leave or not self._may_go_on()
            if self._to_end(changes, now):
                return self._end(changes)
            if not messages:
                replication.wait(0.005 if outbox.pending or state.confirmed > self._told else 0.2)

    def breathe(self) -> None:
        """Keep the connection alive while the broker is waited for. Raises StoppedError when a stop has waited for long enough."""
        now = self._heard = time.monotonic()
        if now - self._sent > _CONFIRM_MOST:
            self._tell(self._state.confirmed, now)
        if self._state.stopping is not None and now - self._state.stopping > _STOP_WITHIN:
            raise StoppedError

    def _settle(self, changes: Changes, now: float) -> None:
        """Note how far everything is acknowledged; under load, wait for the moment when that can be told."""
        state = self._state
        if self._outbox.pending and changes.reached > state.confirmed and now - self._drained > _DRAIN_AFTER:
            self._outbox.drain(self.breathe)
        if not self._outbox.pending:
            state.confirmed, self._drained = max(state.confirmed, changes.reached), now

    def _confirm(self, changes: Changes, now: float) -> None:
        """Tell the server, when there is something to tell, it has asked, or nothing was told for long."""
        since = now - self._sent
        if now - self._heard > GIVE_UP_AFTER:
            raise SilentError
        if changes.asked or since > _CONFIRM_MOST or (self._state.confirmed > self._told and since > _CONFIRM_LEAST):
            changes.asked = False
            self._tell(changes.received, now)

    def _tell(self, received: int, now: float) -> None:
        self._replication.confirm(received, self._state.confirmed, ask=now - self._heard > _ASK_AFTER)
        self._told, self._sent = self._state.confirmed, now

    def _to_end(self, changes: Changes, now: float) -> bool:
        """Whether to end now: between transactions, so that none is sent in part; a stop does not wait for a long one."""
        stopping = self._state.stopping
        if stopping is not None and now - stopping > _STOP_WITHIN:
            return True
        return (self.leave or stopping is not None) and not changes.transaction.open

    def _end(self, changes: Changes) -> None:
        """End in good order: all that was sent is acknowledged and confirmed."""
        self._outbox.drain(self.breathe)
        self._state.confirmed = max(self._state.confirmed, changes.reached)
        now = time.monotonic()
        self._tally(changes, now)
        self._tell(changes.received, now)
        self._replication.end()

    def _tally(self, changes: Changes, now: float) -> None:
        """Put the figures where others see them."""
        self._tallied, state = now, self._state
        counts = dict(self._earlier)
        for name, count in changes.tally().items():
            counts[name] = counts.get(name, 0) + count
        state.counts, state.pending, state.dead_letters = counts, self._outbox.pending, self._outbox.dead_letters
        state.committed_ms = changes.transaction.committed_ms
