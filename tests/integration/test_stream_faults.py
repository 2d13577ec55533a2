"""Capture and mirror together, with a network and services that fail: afterwards the mirror is PostgreSQL row for row, each change once."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from confluent_kafka import TopicPartition

from rainbow.olap.client import connect as connect_clickhouse
from rainbow.settings import Settings, settings
from rainbow.stack.control import SERVICES
from rainbow.stack.place import place_of
from rainbow.stack.process import running
from streaming import topics
from streaming.capture import wire
from streaming.clients import administrator
from streaming.progress import Offsets, wait_until_caught_up, written
from tests.conftest import _settings_of as settings_of
from tests.integration.capturing import wait_until_confirmed
from tests.integration.change_events import forget_topics, send
from tests.integration.following import Followed, drop_slot, following, wait_until, wait_until_mirrored, writing
from tests.integration.mirror_story import letters
from tests.integration.relay import Relay
from tests.integration.test_capture import database, kill, start
from tests.integration.test_mirror_faults import _limit as limit_letters

pytestmark = pytest.mark.services

Connection = psycopg.Connection[Any]
Sized = Callable[[int, int], int]
WIRES = ("capture to postgres", "capture to kafka", "mirror to kafka", "mirror to clickhouse")


def port_of(url: str) -> int:
    port = urlsplit(url if "://" in url else f"kafka://{url}").port
    assert port
    return port


def through(relay: Relay, url: str) -> str:
    """The URL with the relay's port."""
    return url.replace(f":{port_of(url)}", f":{relay.port}")


@pytest.fixture(scope="module")
def wires(stream_stack: Settings) -> Iterator[dict[str, Relay]]:
    """The network of capture and mirror, by who calls whom."""
    made = {wire: Relay(port_of(stream_stack.url_of(wire.split()[-1])), of_broker=wire.endswith("kafka")) for wire in WIRES}
    yield made
    for relay in made.values():
        relay.close()


@pytest.fixture(scope="module")
def followed(stream_stack: Settings, wires: dict[str, Relay], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    """A shop without rows that is followed over these wires."""
    forget_topics()
    with closing(connect_clickhouse()) as client:
        client.command("drop database if exists mirror sync")
    servers, clickhouse = stream_stack.url_of("kafka"), stream_stack.url_of("clickhouse")
    with (
        database(stream_stack.url_of("postgres")) as url,
        settings_of(stream_stack.home, kafka_jars=str(stream_stack.kafka_jars), postgres_url=url),
    ):
        capture = {"postgres_url": through(wires["capture to postgres"], url), "kafka_servers": through(wires["capture to kafka"], servers)}
        mirror = {
            "kafka_servers": through(wires["mirror to kafka"], servers),
            "clickhouse_url": through(wires["mirror to clickhouse"], clickhouse),
        }
        with following(url, tmp_path_factory.mktemp("followed"), capture=capture, mirror=mirror) as made:
            yield made


def repeated(shop: Followed, times: int, fault: Callable[[random.Random], None]) -> None:
    """Let something fail while something is written, again and again."""
    draw = random.Random(times)
    for _ in range(times):
        with writing(shop):
            time.sleep(draw.random() * 0.3)
            fault(draw)
        shop.check()


def test_the_wires_are_all_that_capture_and_mirror_have(followed: Followed, wires: dict[str, Relay]) -> None:
    relays = {relay.port for relay in wires.values()}
    for one in (followed.capture, followed.mirror):
        called = {there.raddr.port for there in psutil.Process(one.pid).net_connections("tcp") if there.raddr}
        assert called
        assert called <= relays


@pytest.mark.parametrize("wire", WIRES)
def test_a_network_that_stops_or_is_cut_is_waited_for(followed: Followed, wires: dict[str, Relay], sized: Sized, wire: str) -> None:
    def fault(draw: random.Random) -> None:
        for fail in (wires[wire].stop, wires[wire].cut):
            fail()
            time.sleep(draw.random() * sized(1, 4))
            wires[wire].go_on()

    passed = wires[wire].passed
    repeated(followed, sized(1, 20), fault)
    assert wires[wire].passed > passed


@pytest.mark.timeout(1800)
def test_connections_that_are_lost_without_a_word_are_given_up(followed: Followed, wires: dict[str, Relay], sized: Sized) -> None:
    def fault(_draw: random.Random) -> None:
        for relay in wires.values():
            relay.forget()

    repeated(followed, sized(1, 20), fault)


def test_a_question_to_postgres_that_is_never_answered_is_given_up(stream_stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    url = stream_stack.url_of("postgres")
    relay = Relay(port_of(url))
    connection = wire.connect(through(relay, url))
    monkeypatch.setattr(wire, "GIVE_UP_AFTER", 1.0)
    assert connection.execute("select 1").fetchone() == (1,)
    relay.forget()
    with pytest.raises(wire.SilentError, match="the server has said nothing for 1 seconds"):
        connection.execute("select 1")
    assert connection.closed
    relay.close()


@pytest.mark.parametrize("service", ["postgres", "kafka", "clickhouse"])
def test_a_service_that_is_killed_or_stands_still_is_waited_for(followed: Followed, sized: Sized, service: str) -> None:
    def fault(draw: random.Random) -> None:
        kill(service)
        time.sleep(draw.random())
        start(service)
        stopped = [process for process in processes_of(service) for process in (process, *process.children(recursive=True))]
        for process in stopped:
            # a server process of PostgreSQL's may have ended by now
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        time.sleep(draw.random() * sized(1, 8))
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    repeated(followed, sized(1, 20), fault)


def processes_of(service: str) -> list[psutil.Process]:
    return [process for place in SERVICES[service].members(place_of(settings().home, service)) if (process := running(place))]


def test_dead_letters_whose_topic_is_gone_or_takes_nothing_wait_and_are_not_lost(followed: Followed, sized: Sized) -> None:
    for n in range(sized(1, 20)):
        forget_letters()
        with writing(followed):
            send([(topics.topic_of("categories"), b"{}", b"no JSON %d" % n, None)])
        followed.check()
        limit_letters(1)
        said = followed.mirror.log.count("a batch waits")
        with writing(followed):
            send([(topics.topic_of("brands"), b"{}", b"none %d" % n, None)])
            followed.mirror.until("a batch waits", times=said + 1)
        assert len(letters()) == 1
        limit_letters(1 << 20)
        followed.check()
        assert {letter["value"] for letter in letters()} == {f"no JSON {n}", f"none {n}"}


def forget_letters() -> None:
    """Delete the topic of dead letters, and wait until it is gone."""
    admin = administrator()
    for gone in admin.delete_topics([topics.DEAD_LETTERS], operation_timeout=10).values():
        gone.result(10)
    wait_until(lambda: topics.DEAD_LETTERS not in admin.list_topics(timeout=10).topics)


def test_capture_waits_until_a_dead_letter_can_be_written(followed: Followed, sized: Sized) -> None:
    for n in range(sized(1, 20)):
        limit_letters(1)
        said = followed.capture.log.count("it goes to rainbow.dead-letters")
        with psycopg.connect(followed.url, autocommit=True) as shop, writing(followed):
            shop.execute(
                "insert into brands (id, name, created_at, updated_at) values (%s, repeat('x', 34000000), now(), now())", [1000 + n]
            )
            followed.capture.until("it goes to rainbow.dead-letters", times=said + 4)
            shop.execute("delete from brands where id > 999")
        # what it has tried in vain is let go
        assert psutil.Process(followed.capture.pid).memory_info().rss < 400 << 20
        before = len(letters())
        limit_letters(1 << 20)
        wait_until_caught_up(60)
        followed.check_rows()
        assert len(letters()) > before
    followed.forget()


def test_a_slot_whose_log_was_removed_is_said_in_one_line_and_a_new_snapshot_follows_by_itself(followed: Followed) -> None:
    with psycopg.connect(followed.url, autocommit=True) as shop:
        shop.execute("alter system set max_slot_wal_keep_size = '1MB'")
        shop.execute("select pg_reload_conf()")
        try:
            followed.capture.signal(signal.SIGSTOP)
            with writing(followed):
                wait_until(lambda: is_lost(shop))
        finally:
            shop.execute("alter system reset max_slot_wal_keep_size")
            shop.execute("select pg_reload_conf()")
        before = written(shop)
        shop.execute("delete from brands where id % 2 = 0")
    followed.capture.signal(signal.SIGCONT)
    wait_until_mirrored(after=before)
    followed.check_rows()
    (line,) = [line for line in followed.capture.log.splitlines() if "has removed log" in line]
    assert line.endswith("snapshot of 10 tables: the server has removed log that the slot needed, see max_slot_wal_keep_size")
    followed.forget()
    with writing(followed):
        time.sleep(0.2)
    followed.check()


def is_lost(shop: Connection) -> bool:
    """Whether the slot is lost, after the server has begun a new file of its log and looked which ones are still needed."""
    shop.execute("select pg_switch_wal()")
    shop.execute("checkpoint")
    return shop.execute("select from pg_replication_slots where slot_name = 'rainbow' and wal_status = 'lost'").rowcount == 1


def test_records_that_were_gone_before_the_mirror_read_them_are_said_and_a_new_snapshot_makes_up_for_them(followed: Followed) -> None:
    followed.mirror.kill()
    with writing(followed):
        time.sleep(0.5)
    with psycopg.connect(followed.url, autocommit=True) as shop:
        wait_until_confirmed(shop)
        ends = Offsets().ends([topics.topic_of("brands")])
        admin = administrator()
        for done in admin.delete_records([TopicPartition(*place, end) for place, end in ends.items()]).values():
            done.result(20)
        with writing(followed):
            followed.mirror.start()
            followed.mirror.until("records were gone from the broker before the mirror read them")
        wait_until_caught_up(60)
        with connect_clickhouse() as client:
            assert client.query("select count() from mirror._snapshots final where completed_at is null").first_row == (1,)
            assert client.query("select name from system.tables where database = 'serving' and name = 'total_sales'").row_count == 0
        # what the line says
        followed.capture.kill()
        drop_slot(shop)
        before = written(shop)
        followed.capture.start()
    wait_until_mirrored(after=before)
    followed.check_rows()
    followed.forget()
    with writing(followed):
        time.sleep(0.2)
    followed.check()
