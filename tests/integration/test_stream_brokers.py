"""Capture and mirror on three brokers, one of which dies or stands still, and comes back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rainbow.olap.client import connect as connect_clickhouse
from rainbow.settings import Settings
from streaming import topics
from streaming.clients import administrator
from tests.conftest import _settings_of as settings_of
from tests.integration.following import Followed, following, wait_until, writing
from tests.integration.homes import Home, home
from tests.integration.test_capture import database
from tests.integration.test_kafka_service import ELSEWHERE

pytestmark = pytest.mark.services


@pytest.fixture
def three(kafka_jars: Path) -> Iterator[Home]:
    """A home with three brokers and nothing else."""
    with home(**ELSEWHERE, RAINBOW_KAFKA_JARS=str(kafka_jars)) as made:
        up = made.run("up", "kafka", "--brokers", "3")
        assert up.returncode == 0, up.stderr
        yield made


@pytest.fixture
def followed(stream_stack: Settings, three: Home, tmp_path: Path) -> Iterator[Followed]:
    """A shop without rows that is followed by way of these brokers."""
    with connect_clickhouse() as client:
        client.command("drop database if exists mirror sync")
    with (
        database(stream_stack.url_of("postgres")) as url,
        settings_of(stream_stack.home, postgres_url=url, kafka_servers=three.url("kafka")),
        following(url, tmp_path, capture={}, mirror={}) as made,
    ):
        yield made


@pytest.mark.timeout(1800)
def test_one_of_three_brokers_may_die_or_stand_still_and_come_back(
    followed: Followed, three: Home, sized: Callable[[int, int], int]
) -> None:
    draw = random.Random(3)
    for number in range(sized(2, 20)):
        # a second broker must not go before the first one has all again
        wait_until_all_is_twice_there()
        broker = three.process(f"kafka/{number % 3 + 1}")
        with writing(followed):
            time.sleep(draw.random())
            if number % 2:
                broker.suspend()
            else:
                three.kill(f"kafka/{number % 3 + 1}")
            time.sleep(draw.random())
        followed.check()
        with writing(followed):
            if number % 2:
                broker.resume()
            else:
                three.up("kafka")
            time.sleep(draw.random())
        followed.check()


def wait_until_all_is_twice_there() -> None:
    """Wait until each partition of a table has two replicas, in step with one another."""
    seen: dict[tuple[str, int], list[int]] = {}

    def is_there() -> bool:
        found = admin.list_topics(timeout=10).topics
        seen.update({(name, number): one.isrs for name in found.keys() & topics.names() for number, one in found[name].partitions.items()})
        return {len(isrs) for isrs in seen.values()} == {2}

    admin = administrator()
    try:
        wait_until(is_there)
    except AssertionError:
        raise AssertionError(f"replicas in step: {seen}") from None
