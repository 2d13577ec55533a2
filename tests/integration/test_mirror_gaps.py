"""Offsets that the mirror did not see: records that its client left out are read again, and what holds no record is none."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition

from rainbow.errors import ServiceError
from rainbow.olap.client import connect
from rainbow.settings import Settings
from streaming import topics
from streaming.clients import administrator, consumer, producer
from streaming.mirror import consumer as mirroring
from streaming.mirror import trust
from streaming.mirror.gaps import Gap, GapReader, placed
from tests.integration.change_events import Event, event, forget_topics, row, send
from tests.integration.mirror_story import Story, wait_until_read
from tests.integration.test_mirror_faults import _processes as processes_of
from tests.integration.test_mirror_faults import check
from tests.integration.test_mirror_faults import settled as settled

pytestmark = pytest.mark.services

TOPIC = topics.topic_of("brands")
JOINING = "joining the group again"


class Careless(mirroring.Mirror):
    """A mirror whose client leaves records out when it is told to, once."""

    leaves_out = ""

    def _consume(self, count: int, seconds: float) -> int:
        # several at a time, that there is one in the middle
        return super()._consume(max(count, 50) if self.leaves_out else count, seconds)

    def _take(self, messages: list[Any], *, sift: bool) -> int:
        if self.leaves_out == "between" and len(messages) > 9:
            self.leaves_out, messages = "", [*messages[:3], *messages[6:]]
        elif self.leaves_out == "before" and len(messages) > 9:
            self.leaves_out, messages = "", messages[3:]
        return super()._take(messages, sift=sift)


@contextmanager
def running(mirror: mirroring.Mirror) -> Iterator[None]:
    thread = threading.Thread(target=mirror.run)
    thread.start()
    try:
        yield
    finally:
        mirror.stop()
        thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize("where", ["before", "between"])
@pytest.mark.parametrize("is_new", [True, False], ids=["from the first record on", "later"])
def test_records_that_the_client_left_out_are_read_again(
    settled: Settings, caplog: pytest.LogCaptureFixture, where: str, is_new: bool
) -> None:
    story, mirror = Story(11), Careless()
    if is_new:
        mirror.leaves_out = where
    with caplog.at_level(logging.WARNING, "rainbow.mirror"), running(mirror):
        send(story.go_on(200))
        if not is_new:
            wait_until_read()
            mirror.leaves_out = where
            send(story.go_on(200))
        check(story)
        assert not mirror.leaves_out
        send(story.go_on(200))
        check(story)
    assert "the client left out records of rainbow.public." in caplog.text


def test_while_the_broker_does_not_tell_what_is_in_a_gap_nothing_behind_it_is_brought_in(
    settled: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trust, "UNSURE", 1.0)
    asked = threading.Event()
    look = GapReader.left_out

    def left_out(self: GapReader, *args: Any) -> Any:
        if not asked.is_set():
            for process in processes_of(settled, "kafka"):
                process.send_signal(signal.SIGSTOP)
        asked.set()
        return look(self, *args)

    monkeypatch.setattr(GapReader, "left_out", left_out)
    story, mirror = Story(12), Careless()
    with caplog.at_level(logging.WARNING, "rainbow.mirror"), running(mirror):
        send(story.go_on(200))
        wait_until_read()
        mirror.leaves_out = "between"
        send(story.go_on(200))
        assert asked.wait(20)
        time.sleep(6)
        for process in processes_of(settled, "kafka"):
            process.send_signal(signal.SIGCONT)
        check(story)
    assert "it cannot be told whether records of" in caplog.text


def test_offsets_of_transactions_are_not_taken_for_records(settled: Settings, caplog: pytest.LogCaptureFixture) -> None:
    send([event("brands", "c", 100, after=row("brands", 1))])
    writer = producer(lambda error, _message: pytest.fail(str(error)), None, **{"transactional.id": "tests"})
    writer.init_transactions(20)
    mirror = mirroring.Mirror()
    with caplog.at_level(logging.WARNING, "rainbow.mirror"), running(mirror):
        for n in range(2, 14):
            writer.begin_transaction()
            topic, key, value, _ = event("brands", "c", 100 + n, after=row("brands", n))
            writer.produce(topic, key=key, value=value)
            writer.flush()
            writer.abort_transaction(20) if n % 3 == 0 else writer.commit_transaction(20)
        send([event("brands", "c", 200 + n, after=row("brands", n)) for n in range(200, 220)])
        wait_until_read()
    assert JOINING not in caplog.text
    with connect() as client:
        found = [key for (key,) in client.query("select id from mirror.brands final order by id").result_rows]
    assert found == [n for n in [1, *range(2, 14), *range(200, 220)] if n % 3 or n >= 200]


def test_a_backlog_of_many_small_transactions_is_no_trouble(settled: Settings, caplog: pytest.LogCaptureFixture) -> None:
    send([event("brands", "c", 99, after=row("brands", 0))])
    writer = producer(lambda error, _message: pytest.fail(str(error)), None, **{"transactional.id": "tests", "linger.ms": 0})
    writer.init_transactions(20)
    for n in range(1, 400):
        writer.begin_transaction()
        topic, key, value, _ = event("brands", "c", 100 + n, after=row("brands", n), partition=0)
        writer.produce(topic, key=key, value=value, partition=0)
        writer.commit_transaction(20)
    send([event("brands", "c", 900, after=row("brands", 400), partition=0)])
    with caplog.at_level(logging.WARNING, "rainbow.mirror"), running(mirroring.Mirror()):
        wait_until_read()
    assert JOINING not in caplog.text
    with connect() as client:
        assert client.query("select count() from mirror.brands final").first_row == (401,)


def test_a_partition_that_ends_with_a_transaction_s_mark_does_not_stand_still(
    settled: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trust, "LOOK", 0.2)
    monkeypatch.setattr(trust, "STANDSTILL", 1.0)
    writer = producer(lambda error, _message: pytest.fail(str(error)), None, **{"transactional.id": "tests"})
    topics.create([TOPIC], administrator())
    writer.init_transactions(20)
    with caplog.at_level(logging.WARNING, "rainbow.mirror"), running(mirroring.Mirror()), connect() as client:
        writer.begin_transaction()
        topic, key, value, _ = event("brands", "c", 100, after=row("brands", 1))
        writer.produce(topic, key=key, value=value)
        writer.commit_transaction(20)
        deadline = time.monotonic() + 30
        while not client.command("exists table mirror.brands") or not client.command("select count() from mirror.brands"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(4)
    assert JOINING not in caplog.text


@pytest.fixture
def brands(stream_stack: Settings) -> Iterator[int]:
    """A topic whose partition 0 has ten records, of which the first four are gone; its end offset."""
    forget_topics()
    told: list[Event] = [event("brands", "c", 100 + n, after=row("brands", n), partition=0) for n in range(10)]
    send(told)
    admin = administrator()
    for done in admin.delete_records([TopicPartition(TOPIC, 0, 4)]).values():
        done.result(20)
    yield 10
    forget_topics()


def test_a_gap_is_of_records_only_where_the_topic_has_some(brands: int) -> None:
    reader = GapReader()
    here, empty = (TOPIC, 0), (TOPIC, 1)
    assert reader.left_out([Gap(here, 2, 4), Gap(here, 0, 3)], 10) == set()
    assert reader.left_out([Gap(here, 2, 5)], 10) == {here}
    assert reader.left_out([Gap(here, 1, 2), Gap(here, 6, 7), Gap(empty, 0, 5)], 10) == {here}
    assert reader.left_out([Gap(here, brands, brands + 5), Gap(here, None, 5)], 10) == set()
    assert reader.left_out([], 10) == set()
    reader.close()


class Hesitant:
    """A client that brings a few records at a time, after a while."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._is_turn = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def consume(self, _count: int, seconds: float) -> list[Any]:
        self._is_turn = not self._is_turn
        if self._is_turn:
            time.sleep(0.05)
            return []
        found: list[Any] = self._client.consume(100, seconds)
        return found


def test_gaps_that_are_far_from_each_other_are_read_as_long_as_records_come(stream_stack: Settings) -> None:
    forget_topics()
    send(event("brands", "c", 100 + n, after=row("brands", n), partition=0) for n in range(4000))
    reader, here = GapReader(), (TOPIC, 0)
    assert reader.left_out([Gap(here, 0, 1)], 20) == {here}
    reader._reader = Hesitant(reader._reader)  # type: ignore[assignment]
    assert reader.left_out([Gap(here, 0, 0), Gap(here, 3999, 4000)], 1) == {here}
    reader.close()
    forget_topics()


def test_a_topic_that_is_gone_or_a_broker_that_stands_still_tells_nothing(stream_stack: Settings, brands: int) -> None:
    reader, member = GapReader(), consumer(topics.GROUP)
    with pytest.raises((KafkaException, ServiceError)):
        reader.left_out([Gap((topics.topic_of("orders"), 0), 0, 5)], 2)
    for process in processes_of(stream_stack, "kafka"):
        process.suspend()
    try:
        with pytest.raises(ServiceError, match=r"Kafka does not tell whether records of rainbow\.public\.brands were passed over"):
            reader.left_out([Gap((TOPIC, 0), 5, 6)], 1)
        with pytest.raises(KafkaException):
            placed([Gap((TOPIC, 0), None, 6)], member, 1)
    finally:
        for process in processes_of(stream_stack, "kafka"):
            process.resume()
    assert reader.left_out([Gap((TOPIC, 0), 5, 6)], 20) == {(TOPIC, 0)}
    # the group has committed nothing, so it begins with the first record
    gaps = [Gap((TOPIC, 0), None, 6), Gap((TOPIC, 1), None, 0), Gap((TOPIC, 2), 3, 5)]
    assert placed(gaps, member, 20) == [Gap((TOPIC, 0), 0, 6), Gap((TOPIC, 2), 3, 5)]
    member.close()
    reader.close()
