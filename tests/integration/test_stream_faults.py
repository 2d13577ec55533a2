"""Capture and mirror together, with a network and services that fail: afterwards the mirror is PostgreSQL row for row, each change once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import psutil
import pytest

from rainbow.olap.client import connect as connect_clickhouse
from rainbow.settings import Settings, settings
from rainbow.stack.control import SERVICES
from rainbow.stack.place import place_of
from rainbow.stack.process import running
from tests.conftest import _settings_of as settings_of
from tests.integration.change_events import forget_topics
from tests.integration.following import Followed, Writer, following
from tests.integration.relay import Relay
from tests.integration.test_capture import database, kill, start

pytestmark = pytest.mark.services

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


@contextmanager
def writing(shop: Followed) -> Iterator[None]:
    """Something is written all the time."""
    writer = Writer(shop.url)
    try:
        yield
    finally:
        writer.stop()


def repeated(shop: Followed, times: int, fault: Callable[[random.Random], None]) -> None:
    """Let something fail while something is written, again and again."""
    draw = random.Random(times)
    for _ in range(times):
        with writing(shop):
            time.sleep(draw.random() * 0.3)
            fault(draw)
        shop.check()


@pytest.mark.parametrize("wire", WIRES)
def test_a_network_that_stops_or_is_cut_is_waited_for(followed: Followed, wires: dict[str, Relay], sized: Sized, wire: str) -> None:
    def fault(draw: random.Random) -> None:
        for fail in (wires[wire].stop, wires[wire].cut):
            fail()
            time.sleep(draw.random() * sized(1, 4))
            wires[wire].go_on()

    repeated(followed, sized(1, 20), fault)


@pytest.mark.timeout(1800)
def test_connections_that_are_lost_without_a_word_are_given_up(followed: Followed, wires: dict[str, Relay], sized: Sized) -> None:
    def fault(_draw: random.Random) -> None:
        for relay in wires.values():
            relay.forget()

    repeated(followed, sized(1, 20), fault)


@pytest.mark.parametrize("service", ["postgres", "kafka", "clickhouse"])
def test_a_service_that_is_killed_or_stands_still_is_waited_for(followed: Followed, sized: Sized, service: str) -> None:
    def fault(draw: random.Random) -> None:
        kill(service)
        time.sleep(draw.random())
        start(service)
        stopped = [process for process in processes_of(service) for process in (process, *process.children(recursive=True))]
        for process in stopped:
            process.suspend()
        time.sleep(draw.random() * sized(1, 8))
        for process in stopped:
            process.resume()

    repeated(followed, sized(1, 20), fault)


def processes_of(service: str) -> list[psutil.Process]:
    return [process for place in SERVICES[service].members(place_of(settings().home, service)) if (process := running(place))]
