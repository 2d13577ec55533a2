"""The mirror comes back by itself from whatever dies or stops around it; nothing is lost, nothing is there twice."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import psutil
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from rainbow import stack
from rainbow.olap.client import connect
from rainbow.olap.mirror.kept import create_all
from rainbow.settings import Settings
from rainbow.source.tables import TABLES
from rainbow.stack.place import Place, place_of
from rainbow.stack.process import running
from streaming import topics
from streaming.clients import administrator, consumer
from streaming.mirror import consumer as mirroring
from streaming.mirror import trust
from streaming.mirror.applying import GivenUpError
from streaming.mirror.batch import Batch
from streaming.mirror.envelopes import Change, Truncation
from streaming.mirror.metrics import Metrics
from streaming.mirror.writer import Writer
from streaming.progress import Offsets
from tests.integration.change_events import COMMITTED, event, forget_topics, row, send
from tests.integration.mirror_story import Story, letters, processes, wait_until_read

pytestmark = pytest.mark.services

Sized = Callable[[int, int], int]
EVENTS = 400


@pytest.fixture
def settled(stream_stack: Settings) -> Iterator[Settings]:
    """The stack with no mirror and no topics of ours; all of it runs at the end."""
    with connect() as client:
        client.command("drop database if exists mirror sync")
    forget_topics()
    yield stream_stack
    for service in ("clickhouse", "kafka"):
        for process in _processes(stream_stack, service):
            process.send_signal(signal.SIGCONT)
    stack.up(["postgres", "clickhouse", "kafka"])


def _processes(settings: Settings, service: str) -> list[psutil.Process]:
    place = place_of(settings.home, service)
    places = [place] if service == "clickhouse" else [Place(place.folder / "1")]
    return [process for one in places if (process := running(one))]


def kill(settings: Settings, service: str) -> None:
    for process in _processes(settings, service):
        process.kill()
        process.wait(10)


def check(story: Story) -> None:
    wait_until_read()
    with connect() as client:
        story.check(client)


@pytest.mark.parametrize("seed", [1])
def test_a_mirror_that_is_killed_at_any_moment_goes_on_where_it_was(settled: Settings, sized: Sized, seed: int) -> None:
    story, chance = Story(seed), random.Random(seed)
    with processes() as (mirror,):
        for _ in range(sized(2, 20)):
            send(story.go_on(EVENTS))
            time.sleep(chance.random() * 0.6)
            mirror.kill()
            send(story.go_on(EVENTS))
            mirror.start()
        check(story)
        assert mirror.end() == 0


def test_a_mirror_killed_before_its_first_commit_loses_no_delete(settled: Settings) -> None:
    with processes() as (mirror,):
        send([event("brands", "c", 100 + n, after=row("brands", n)) for n in range(1000)])
        while not Offsets().topics():
            time.sleep(0.01)
        time.sleep(1)
        mirror.kill()
        send([event("brands", "d", 2000 + n, before=row("brands", n)) for n in range(0, 1000, 2)])
        mirror.start()
        wait_until_read()
    with connect() as client:
        assert [key for (key,) in client.query("select id from mirror.brands final order by id").result_rows] == list(range(1, 1000, 2))


def test_it_is_back_within_seconds_of_a_kill(settled: Settings) -> None:
    with processes() as (mirror,):
        send([event("brands", "c", 100, after=row("brands", 1))])
        wait_until_read()
        mirror.kill()
        began = time.monotonic()
        mirror.start()
        send([event("brands", "c", 101, after=row("brands", 2))])
        wait_until_read()
        # 3 s on a machine of its own
        assert time.monotonic() - began < 15


def test_clickhouse_killed_and_started_again_stops_nothing_for_good(settled: Settings, sized: Sized) -> None:
    story = Story(2)
    with processes() as (mirror,):
        for _ in range(sized(1, 20)):
            send(story.go_on(EVENTS))
            kill(settled, "clickhouse")
            send(story.go_on(EVENTS))
            stack.up(["clickhouse"])
            check(story)
        assert mirror.is_alive


def test_a_broker_killed_and_started_again_stops_nothing_for_good(settled: Settings, sized: Sized) -> None:
    story = Story(3)
    with processes() as (mirror,):
        for _ in range(sized(1, 20)):
            send(story.go_on(EVENTS))
            kill(settled, "kafka")
            time.sleep(0.5)
            stack.up(["kafka"])
            send(story.go_on(EVENTS))
            check(story)
        assert mirror.is_alive


@pytest.mark.parametrize("service", ["clickhouse", "kafka"])
def test_a_service_that_stops_answering_is_waited_for(settled: Settings, sized: Sized, service: str) -> None:
    story = Story(4)
    with processes() as (mirror,):
        send(story.go_on(EVENTS))
        for _ in range(sized(1, 20)):
            for process in _processes(settled, service):
                process.suspend()
            more = story.go_on(EVENTS)
            sending = threading.Thread(target=send, args=(more,))
            sending.start()
            time.sleep(sized(3, 8))
            for process in _processes(settled, service):
                process.resume()
            sending.join(60)
            check(story)
        assert mirror.is_alive


def test_a_mirror_that_stood_still_while_others_went_on_harms_nothing(settled: Settings, sized: Sized) -> None:
    story = Story(5)
    with processes(2) as (first, _second):
        for _ in range(sized(1, 20)):
            send(story.go_on(EVENTS))
            first.signal(signal.SIGSTOP)
            send(story.go_on(EVENTS))
            # longer than the group waits for a member
            time.sleep(4)
            check(story)
            first.signal(signal.SIGCONT)
            send(story.go_on(EVENTS))
            check(story)


def test_mirrors_that_come_and_go_share_the_work(settled: Settings, sized: Sized) -> None:
    story = Story(6)
    with processes(3) as mirrors:
        for n in range(sized(2, 20)):
            sending = threading.Thread(target=send, args=(story.go_on(4 * EVENTS),))
            sending.start()
            mirror = mirrors[n % 3]
            time.sleep(0.5)
            # it may be asked to end before it has begun to listen to that
            assert mirror.end() in (0, -signal.SIGTERM)
            sending.join(60)
            mirror.start()
        check(story)
    assert letters() == []


def test_a_mirror_that_is_to_end_gives_a_batch_of_many_truncates_up(settled: Settings) -> None:
    batch = Batch()
    for n in range(1, 61):
        batch.changes[topics.topic_of("orderdetails")] += [
            Change(row("orderdetails", n), 2 * n, False, 700, COMMITTED, "", False, False, None),
            Truncation(2 * n + 1, 700, COMMITTED, "", None),
        ]
    writer = Writer(Metrics(), threading.Event())
    with connect() as client:
        create_all(client, TABLES)
        bringing = writer.bring(batch)
        while not (begun := _versions(client)):
            assert not bringing.done()
        writer.close()
        assert isinstance(bringing.exception(), GivenUpError)
        assert begun <= _versions(client) < 120
        # the next mirror begins again
        writer = Writer(Metrics(), threading.Event())
        writer.bring(batch).result(60)
        writer.close()
        assert _versions(client) == 120


def _versions(client: Any) -> int:
    return int(client.query("select count() from mirror.orderdetails_history final").first_row[0])


def test_dead_letters_that_cannot_be_written_stop_the_progress_and_are_not_lost(settled: Settings, sized: Sized) -> None:
    for n in range(sized(1, 20)):
        topics.create([topics.DEAD_LETTERS], administrator())
        _limit(1)
        with processes() as (mirror,):
            send([event("products", "c", 100 + n, after=row("products", 2 * n, price="NaN"))])
            send([event("products", "c", 200 + n, after=row("products", 2 * n + 1))])
            time.sleep(4)
            offsets = Offsets()
            assert offsets.behind(offsets.ends())
            assert len(letters()) == n
            assert mirror.is_alive
            _limit(1 << 20)
            wait_until_read()
        assert len({letter["offset"] for letter in letters()}) <= n + 1
        assert letters()[-1]["reason"].startswith("column price: ")
    with connect() as client:
        assert client.query("select count() from mirror.products final").first_row == (sized(1, 20),)


def _limit(bytes_: int) -> None:
    """How large a dead letter may be."""
    admin = administrator()
    entry = ConfigEntry("max.message.bytes", str(bytes_), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topics.DEAD_LETTERS, incremental_configs=[entry])
    for altered in admin.incremental_alter_configs([resource]).values():
        altered.result(timeout=10)


def test_a_rebalance_in_mid_batch_gives_a_partition_up_with_all_of_it_committed(settled: Settings, sized: Sized) -> None:
    story = Story(7)
    with processes() as (mirror,):
        send(story.go_on(EVENTS))
        wait_until_read()
        for _ in range(sized(1, 20)):
            sending = threading.Thread(target=send, args=(story.go_on(4 * EVENTS),))
            sending.start()
            # another member takes some partitions, reads nothing, and leaves
            other = consumer(topics.GROUP)
            other.subscribe(Offsets().topics())
            taken: list[TopicPartition] = []
            deadline = time.monotonic() + 15
            while not taken and time.monotonic() < deadline:
                other.consume(1, 0.05)
                taken = other.assignment()
            assert taken
            other.close()
            sending.join(60)
            check(story)
        assert mirror.is_alive


class Losing(mirroring.Mirror):
    """A mirror whose client loses what it has when it is told to, once, in place of one that waits for ever: some of its partitions, which
    are paused, or its group, which it leaves."""

    loses = ""

    def _subscribe(self) -> None:
        super()._subscribe()
        loses, self.loses = self.loses, ""
        if loses == "partitions":
            self._consumer.pause(self._consumer.assignment()[:3])
        elif loses == "group":
            self._consumer.unsubscribe()


class Revoked(mirroring.Mirror):
    """A mirror from which partitions are taken while it reads its first message; what it has is on its way from then on."""

    def _consume(self, count: int, seconds: float) -> int:
        self._batch.messages += count
        if self._flight is None:
            self._flight, self._batch = (self._batch, Future()), Batch(self._expected)
        return count

    def close(self) -> None:
        self._consumer.close()
        self._trust.close()
        self._writer.close()


@pytest.mark.timeout(60)
def test_a_batch_after_a_rebalance_ends_too_while_the_one_before_is_on_its_way(settled: Settings) -> None:
    mirror = Revoked()
    try:
        mirror._gather()
        assert 0 < mirror._batch.messages <= settled.mirror_batch_rows
    finally:
        mirror.close()


class Deaf(mirroring.Mirror):
    """A mirror whose first client brings nothing of what it was assigned."""

    is_deaf = True

    def _on_assign(self, member: Any, partitions: list[TopicPartition]) -> None:
        super()._on_assign(member, partitions)
        if self.is_deaf:
            self._consumer.incremental_assign(partitions)
            self._consumer.pause(partitions)

    def _resume(self) -> None:
        if not self.is_deaf:
            super()._resume()

    def _exchange(self) -> None:
        self.is_deaf = self.is_deaf and not self._trust.lost
        super()._exchange()


def test_a_client_that_brings_nothing_from_the_first_is_exchanged(settled: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "LOOK", 0.2)
    monkeypatch.setattr(trust, "STANDSTILL", 1.0)
    story, mirror = Story(9), Deaf()
    send(story.go_on(EVENTS))
    thread = threading.Thread(target=mirror.run)
    thread.start()
    try:
        check(story)
        assert not mirror.is_deaf
    finally:
        mirror.stop()
        thread.join(30)


@pytest.mark.parametrize("what", ["partitions", "group"])
def test_what_the_client_has_lost_is_taken_up_again(settled: Settings, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(trust, "LOOK", 0.2)
    monkeypatch.setattr(trust, "STANDSTILL", 1.0)
    monkeypatch.setattr(trust, "LEFT_OUT", 1.0)
    story, mirror = Story(8), Losing()
    thread = threading.Thread(target=mirror.run)
    thread.start()
    try:
        send(story.go_on(EVENTS))
        wait_until_read()
        mirror.loses = what
        send(story.go_on(EVENTS))
        deadline = time.monotonic() + 10
        while mirror.loses:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        send(story.go_on(EVENTS))
        check(story)
    finally:
        mirror.stop()
        thread.join(30)
