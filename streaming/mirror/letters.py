"""Dead letters: what the mirror could not use goes to a topic of its own, whole and with the reason, before the mirror goes on."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from streaming import topics
from streaming.clients import administrator, producer
from streaming.mirror.envelopes import Message

log = logging.getLogger("rainbow.mirror")

# seconds between two complaints about a topic that takes nothing
COMPLAINT = 10.0


class DeadLetters:
    """Writes to the topic ``rainbow.dead-letters``, which is made when it is not there."""

    def __init__(self) -> None:
        self._producer: Producer | None = None
        self._refused: list[KafkaError] = []

    def write(self, rejected: Sequence[tuple[Message, str]]) -> None:
        """Write the messages with their reasons; returns when the broker has acknowledged them all.

        Raises KafkaException when the broker refuses them; the same call then has to be made again.
        """
        if not rejected:
            return
        try:
            if self._producer is None:
                topics.create([topics.DEAD_LETTERS], administrator())
                self._producer = producer(self._note)
            for message, reason in rejected:
                self._send(self._producer, message, reason)
            while self._producer.flush(COMPLAINT):
                log.warning("the topic %s takes nothing; the mirror waits for it", topics.DEAD_LETTERS)
            if self._refused:
                raise KafkaException(self._refused[0])
        except BaseException:
            # a producer that failed once may be of no more use; what it has not sent will be sent again
            self._producer = None
            self._refused = []
            raise

    def _send(self, to: Producer, message: Message, reason: str) -> None:
        try:
            self._produce(to, letter(message, reason))
        except KafkaException as error:
            if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            # the message is still where the letter says
            self._produce(to, letter(message, reason, whole=False))

    def _produce(self, to: Producer, content: bytes) -> None:
        while True:
            try:
                to.produce(topics.DEAD_LETTERS, value=content)
                return
            except BufferError:
                to.poll(1)

    def _note(self, error: Any, _message: Any) -> None:
        self._refused.append(error)


def letter(message: Message, reason: str, *, whole: bool = True) -> bytes:
    """A dead letter: where the message was, why it is of no use, and the message; bytes that are no text are in base64, which it says."""
    key, value = message.key(), message.value()
    content = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "table": topics.table_of(message.topic()),
        "reason": reason,
        "key": _text(key),
        "value": _text(value) if whole else None,
    }
    encoded = [name for name, part in (("key", key), ("value", value)) if part is not None and not _is_text(part)]
    return orjson.dumps({**content, "base64": encoded} if encoded else content)


def _text(part: bytes | None) -> str | None:
    if part is None:
        return None
    return part.decode() if _is_text(part) else base64.b64encode(part).decode()


def _is_text(part: bytes) -> bool:
    try:
        part.decode()
    except UnicodeDecodeError:
        return False
    return True
