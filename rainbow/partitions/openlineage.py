"""Lineage: telling an OpenLineage endpoint, or a file, of runs and their steps, when the setting RAINBOW_OPENLINEAGE_URL names one.

Events are sent by a thread of the run's own, in order. An endpoint that is down or slow costs a run at most the second that its
end waits for the last events; the first event that cannot be sent is the last one of its run, and a line in the log says so.
Without the setting nothing happens, and the client is not even imported.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger, one_line
from rainbow.settings import settings

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

# of each of an event's exchanges with the endpoint
_ANSWER_SECONDS = 2.0
# what a run waits at its end for what is not sent yet
_LAST_SECONDS = 1.0
_PATH = "/api/v1/lineage"


@contextmanager
def of_run(run: str) -> Iterator[None]:
    """Tell of a run of the ledger that has just begun, and of its end when the block ends."""
    if settings().openlineage_url is None:
        yield
        return
    sender = _Sender(run)
    _senders[run] = sender
    try:
        with sender.telling(None):
            yield
    finally:
        del _senders[run]
        sender.close()


@contextmanager
def of_step(run: str, step: str, partitions: PartitionRange) -> Iterator[None]:
    """Tell of a step that begins, and of its end when the block ends: what it made and what its checks found."""
    sender = _senders.get(run)
    if sender is None:
        yield
        return
    with sender.telling(step, partitions):
        yield


class _Sender:
    """The events of a run on their way."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.waiting: queue.SimpleQueue[RunEvent | None] = queue.SimpleQueue()
        self.gave_up = False
        self.known = 0, 0
        self.ledger = Ledger()
        self.thread = threading.Thread(target=self._send, name=f"lineage of {run}", daemon=True)
        self.thread.start()

    @contextmanager
    def telling(self, step: str | None, partitions: PartitionRange | None = None) -> Iterator[None]:
        """Put the events of a run, or of a step of it, on their way."""
        self._tell("START", step, partitions)
        try:
            yield
        except BaseException as error:
            self._tell("FAIL" if isinstance(error, Exception) else "ABORT", step, partitions, one_line(error))
            raise
        self._tell("COMPLETE", step, partitions)

    def close(self) -> None:
        """Wait a moment for the last events."""
        self.waiting.put(None)
        self.thread.join(_LAST_SECONDS)
        if self.thread.is_alive():
            self._give_up("the endpoint is slow")

    def _tell(self, state: str, step: str | None, partitions: PartitionRange | None, error: str | None = None) -> None:
        if self.gave_up:
            return
        try:
            self.waiting.put(self._event(state, step, partitions, error))
        except Exception as reason:
            # whatever is wrong with lineage, the run goes on
            self._give_up(one_line(reason))

    def _event(self, state: str, step: str | None, partitions: PartitionRange | None, error: str | None) -> RunEvent:
        from rainbow.partitions import openlineage_events as events

        run = self.ledger.run(self.run)
        assert run is not None
        task = events.Task(self.run, run.what, partitions or run.partitions, step)
        if step is None:
            return events.event(events.RunState(state), task, error=error)
        made, checks = self.ledger.made(self.run), self.ledger.checks_of(self.run)
        if state == "START":
            self.known = len(made), len(checks)
            return events.event(events.RunState(state), task)
        # a step's own are those that were noted since it began
        done = events.Done(made[self.known[0] :], checks[self.known[1] :])
        return events.event(events.RunState(state), task, done=done, error=error)

    def _send(self) -> None:
        """What the thread does until the run has ended."""
        emit = None
        while (event := self.waiting.get()) is not None and not self.gave_up:
            try:
                emit = emit or _emitter()
                emit(event)
            except Exception as error:
                self._give_up(one_line(error))

    def _give_up(self, reason: str) -> None:
        if self.gave_up:
            return
        self.gave_up = True
        line = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}  run {self.run}: no more lineage is sent for it: {reason}"
        # a log that cannot be written is no reason to fail either
        with contextlib.suppress(OSError):
            log().parent.mkdir(parents=True, exist_ok=True)
            with log().open("a", encoding="utf-8") as file:
                file.write(settings().without_secrets(line) + "\n")


_senders: dict[str, _Sender] = {}


def log() -> Path:
    """Where it says that lineage was not sent, and why."""
    return settings().home / "logs" / "openlineage.log"


def _emitter() -> Callable[[RunEvent], Any]:
    from openlineage.client import OpenLineageClient

    url = settings().openlineage_url
    assert url is not None
    # the place of the source code is an address that may have a password in it
    config = {"facets": {"source_code_location": {"disabled": True}}}
    client = OpenLineageClient(transport=_transport(url.get_secret_value()), config=config)
    return client.emit


def _transport(url: str) -> Any:
    parts = urlsplit(url)
    if parts.scheme == "file":
        from openlineage.client.transport.file import FileConfig, FileTransport

        path = Path(unquote(parts.path))
        path.parent.mkdir(parents=True, exist_ok=True)
        return FileTransport(FileConfig(str(path), append=True))
    from openlineage.client.transport.http import HttpConfig, HttpTransport

    endpoint = (parts.path.strip("/") or _PATH.strip("/")) + (f"?{parts.query}" if parts.query else "")
    base = f"{parts.scheme}://{parts.netloc}/"
    transport = HttpTransport(HttpConfig(base, endpoint, timeout=_ANSWER_SECONDS, retry={"total": 0}))
    # a proxy of the environment is for the world outside, not for services that the settings name
    transport.session.trust_env = False
    return transport
