"""What is on its way to the broker, and how it is known to have arrived.

Records are not tracked one by one, that would cost more than sending them: when the producer has nothing outstanding, all that was
sent is acknowledged, since a record that fails is reported. Under load that moment does not come by itself, so the loop waits for it
about once a second (``drain``); it is a matter of milliseconds.

Nothing is sent while an exception is handled: the client never lets go of an exception during whose handling it raises one of its own,
nor of the frames with their records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException

from streaming import clients
from streaming.clients import TOO_LARGE
from streaming.topics import DEAD_LETTERS, table_of

Check = Callable[[], None]


class Outbox:
    """A producer, with the failures that it reported; one that has ``failed`` is of no more use."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._failures: list[tuple[KafkaError, Any]] = []
        self._away = self._waited = False
        self._broken: KafkaError | None = None
        self.failed = False
        self.dead_letters = 0
        self.producer = clients.producer(lambda error, message: self._failures.append((error, message)), self._note)
        self.produce = self.producer.produce

    @property
    def pending(self) -> int:
        """How many records are not acknowledged yet."""
        return len(self.producer)

    def send(self, topic: str, value: bytes | None, key: bytes | None, check: Check, **options: Any) -> None:
        """Hand a record over; where there is no room, wait for it. ``check`` is called meanwhile and may raise.

        One that is too large for the topic becomes a dead letter.
        """
        while (refused := self._refusal(topic, value, key, options)) is not None:
            if refused.code() == KafkaError._QUEUE_FULL:
                self.wait_for_room(check)
            elif refused.code() in TOO_LARGE:
                self._bury(topic, key, refused)
                return
            else:
                self.failed = True
                raise KafkaException(refused)

    def _refusal(self, topic: str, value: bytes | None, key: bytes | None, options: dict[str, Any]) -> KafkaError | None:
        """Hand a record over; why the producer did not take it, as a value."""
        try:
            self.produce(topic, value, key, **options)
        except BufferError:
            return KafkaError(KafkaError._QUEUE_FULL)
        except KafkaException as error:
            refused: KafkaError = error.args[0]
            return refused
        return None

    def wait_for_room(self, check: Check) -> None:
        """Let the producer work for a moment."""
        check()
        self.producer.poll(0.05)
        self.look()

    def poll(self) -> None:
        """Take in what the broker has answered. Raises KafkaException for what it refused."""
        self.producer.poll(0)
        if self._failures or self._broken or self._away:
            self.look()

    def drain(self, check: Check) -> None:
        """Wait until all is acknowledged, calling ``check`` meanwhile. Raises KafkaException for what was refused."""
        while len(self.producer):
            check()
            self.producer.flush(0.1)
            self.look()
        self.look()

    def look(self) -> None:
        """Deal with failures: a record that is too large becomes a dead letter, anything else is raised."""
        failures, self._failures = self._failures, []
        for error, message in failures:
            if error.code() in TOO_LARGE and message.topic() != DEAD_LETTERS:
                self._bury(message.topic(), message.key(), error)
            else:
                self.failed = True
                raise KafkaException(error)
        if self._broken:
            self.failed = True
            raise KafkaException(self._broken)
        if self._away and len(self.producer):
            self._waited = True
        elif self._away and self._waited:
            self._away = self._waited = False
            self._warn("the broker has all events again")

    def close(self) -> None:
        """Forget what was not sent, and end the producer: its threads and its memory are given back here, not at some later time."""
        self.producer.purge()
        self.producer.poll(0)
        # the producer knows this outbox by its callbacks, so neither would go before the collector of cycles comes by
        del self.producer, self.produce

    def _bury(self, topic: str, key: bytes | None, error: KafkaError) -> None:
        """Write the record to the dead letters, without its value, and say so."""
        self.dead_letters += 1
        reason = f"the event is larger than a topic takes: {error.str()}"
        told = None if key is None else key.decode()
        self._warn(f"{topic}: {told}: {reason}; it goes to {DEAD_LETTERS}")
        letter = {"topic": topic, "partition": None, "offset": None, "table": table_of(topic), "reason": reason, "key": told, "value": None}
        self.send(DEAD_LETTERS, orjson.dumps(letter), key, _nothing)

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            self._broken = error
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and not self._away:
            self._away = True
            self._warn("no broker answers; events wait until one does")


def _nothing() -> None:
    """Nobody is asked."""
