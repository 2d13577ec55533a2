"""Capture as a process: it follows the source for ever, and begins again by itself when PostgreSQL or the broker was away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import psycopg
from confluent_kafka import KafkaException
from psycopg.conninfo import conninfo_to_dict

from rainbow.settings import settings
from streaming.capture.catalog import NoTablesError
from streaming.capture.outbox import Outbox
from streaming.capture.session import Session
from streaming.capture.slot import reason as reason_of
from streaming.capture.slot import refusal
from streaming.capture.state import State, StoppedError
from streaming.capture.watch import Watch

_LOG = logging.getLogger("rainbow.capture")

# seconds: the first and the longest pause before a new attempt, and how long the same trouble is not told again
_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_TELL_EVERY = 30.0
# that the lock may be held by a capture which was killed a moment ago, and its slot: a sender in the middle of a large transaction looks
# only now and then whether its reader is still there
_PATIENCE, _PATIENCE_FOR_SLOT = 3.0, 25.0


class Capture:
    """A capture; ``run`` ends after ``stop``."""

    def __init__(self) -> None:
        self._settings = settings()
        self._url = self._settings.url_of("postgres")
        self._state = State()
        self._warned: set[str] = set()
        self._trouble, self._told = ("", ""), 0.0

    def stop(self) -> None:
        """Ask for the stop; what is under way is brought to an end first."""
        self._state.stop()

    def run(self) -> None:
        """Follow the source. Raises RainbowError for what a user has to put right."""
        outbox, pause, events = Outbox(_LOG.warning), _PAUSE, 0
        watch = Watch(self._url, self._state, _LOG.info)
        watch.start(self._settings.capture_metrics_port)
        while self._state.stopping is None:
            try:
                Session(self._url, outbox, self._state, _LOG.info, self._warn, (_PATIENCE, _PATIENCE_FOR_SLOT)).follow()
                pause = _PAUSE
            except StoppedError:
                break
            except NoTablesError as error:
                self._warn(f"{error}; waiting for them")
                self._sleep(_LONGEST_PAUSE)
            except (psycopg.Error, KafkaException, TimeoutError) as error:
                self._give_up_if_for_good(error)
                self._tell(error)
                if outbox.failed:
                    # what it still holds comes again from the slot
                    outbox.close()
                    outbox = Outbox(_LOG.warning)
                if self._state.events > events:
                    pause, events = _PAUSE, self._state.events
                self._sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        watch.stop()
        self._leave(outbox)

    def _leave(self, outbox: Outbox) -> None:
        if outbox.pending:
            _LOG.warning("stopped; %d events were not acknowledged by the broker and are sent again by the next capture", outbox.pending)
        else:
            _LOG.info("stopped; %s events in all", f"{self._state.events:,}")
        outbox.close()

    def _give_up_if_for_good(self, error: Exception) -> None:
        if isinstance(error, psycopg.Error) and (for_user := refusal(error, str(conninfo_to_dict(self._url).get("user", "")))):
            raise for_user from error

    def _tell(self, error: Exception) -> None:
        """Say what went wrong, once for the same trouble."""
        what = "PostgreSQL" if isinstance(error, psycopg.Error) else "Kafka"
        text = reason_of(error) if isinstance(error, psycopg.Error) else _words_of(error)
        reason = self._settings.without_secrets(text)
        now = time.monotonic()
        if (what, reason) != self._trouble or now - self._told > _TELL_EVERY:
            _LOG.warning("%s: %s; trying again", what, reason)
            self._trouble, self._told = (what, reason), now

    def _warn(self, text: str) -> None:
        """A warning, once in a process."""
        if text not in self._warned:
            self._warned.add(text)
            _LOG.warning("%s", text)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._state.stopping is None and time.monotonic() < until:
            time.sleep(0.05)


def _words_of(error: Exception) -> str:
    return str(error.args[0].str() if isinstance(error, KafkaException) else error)


def run(before: Callable[[Capture], None]) -> None:
    """Follow the source until it is stopped; ``before`` is given the capture first, to know what to stop."""
    capture = Capture()
    before(capture)
    capture.run()
