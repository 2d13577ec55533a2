"""Dead letters: what the mirror could not use goes to a topic of its own, with the reason, before the mirror goes on."""

from __future__ import annotations

import base64
import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from streaming import topics
from streaming.clients import TOO_LARGE, administrator, producer
from streaming.mirror.envelopes import Message

log = logging.getLogger("rainbow.mirror")

# seconds between two complaints about a topic that takes nothing
COMPLAINT = 10.0


class DeadLetters:
    """Writes to the topic ``rainbow.dead-letters``, which is made when it is not there."""

    def __init__(self) -> None:
        self._producer: Producer | None = None

    def write(self, rejected: Sequence[tuple[Message, str]]) -> None:
        """Write the messages with their reasons; returns when the broker has acknowledged them all.

        Raises KafkaException when the broker refuses them; the same call then has to be made again.
        """
        try:
            refused = self._written([letter(message, reason) for message, reason in rejected])
            # a letter is longer than the message that it holds; that is still where the letter says
            too_long = [rejected[n] for n, error in refused.items() if error.code() in TOO_LARGE]
            others = [error for error in refused.values() if error.code() not in TOO_LARGE]
            others += self._written([letter(message, reason, whole=False) for message, reason in too_long]).values()
            if others:
                raise KafkaException(others[0])
        except BaseException:
            # a producer that failed once may be of no more use; what it has not sent will be sent again
            self._producer = None
            raise

    def _written(self, letters: Sequence[bytes]) -> dict[int, KafkaError]:
        """Write, wait for the broker, and return what it refused, by number."""
        if not letters:
            return {}
        if self._producer is None:
            topics.create([topics.DEAD_LETTERS], administrator())
            self._producer = producer(_ignore)
        refused: dict[int, KafkaError] = {}
        for n, content in enumerate(letters):
            try:
                self._produce(self._producer, content, functools.partial(_note, refused, n))
            except KafkaException as error:
                refused[n] = error.args[0]
        while self._producer.flush(COMPLAINT):
            log.warning("the topic %s takes nothing; the mirror waits for it", topics.DEAD_LETTERS)
            # it may have been deleted since
            with suppress(KafkaException):
                topics.create([topics.DEAD_LETTERS], administrator())
        return refused

    def _produce(self, to: Producer, content: bytes, told: Callable[[Any, Any], None]) -> None:
        while True:
            try:
                to.produce(topics.DEAD_LETTERS, value=content, on_delivery=told)
                return
            except BufferError:
                to.poll(1)


def _note(refused: dict[int, KafkaError], number: int, error: KafkaError | None, _message: Any) -> None:
    if error:
        refused[number] = error


def _ignore(_error: Any, _message: Any) -> None:
    """Each letter has its own answer."""


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
