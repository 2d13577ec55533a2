"""Capture and mirror as processes of the stack: started after what they use, restarted when dead, stopped first."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import clickhouse_connect
import psycopg
import pytest

from tests.integration.homes import Home, home

pytestmark = pytest.mark.services

# the batch layer's warehouse is not looked at here: said to run elsewhere, it is not started
NO_WAREHOUSE = {"RAINBOW_BIGQUERY_URL": "http://nobody:x@127.0.0.1:1"}


@pytest.fixture(scope="module")
def streaming(kafka_jars: Path) -> Iterator[Home]:
    """A home that streams from a shop without orders; its tables were made when all was up already."""
    with home(**NO_WAREHOUSE, RAINBOW_KAFKA_JARS=str(kafka_jars)) as made:
        up = made.run("up", "--stream")
        assert up.returncode == 0, up.stderr
        lines = [line.split()[0] for line in up.stdout.splitlines() if " started " in line]
        assert set(lines[:3]) == {"postgres", "clickhouse", "kafka"}
        assert set(lines[3:]) == {"capture", "mirror"}
        assert made.run("seed", "--schema-only").returncode == 0
        yield made


def insert_brand(made: Home, name: str) -> None:
    with psycopg.connect(made.url("postgres"), autocommit=True) as connection:
        connection.execute("insert into brands (name, created_at, updated_at) values (%s, now(), now())", [name])


def mirrored_brands(made: Home) -> set[Any]:
    client = clickhouse_connect.get_client(dsn=made.url("clickhouse"))
    try:
        if not client.query("exists table mirror.brands").result_rows[0][0]:
            return set()
        return {row[0] for row in client.query("select name from mirror.brands final").result_rows}
    finally:
        client.close()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_committed_row_reaches_clickhouse_with_up_alone(streaming: Home) -> None:
    insert_brand(streaming, "first")
    wait_until(lambda: "first" in mirrored_brands(streaming))
    assert {name: streaming.states()[name] for name in ("kafka", "capture", "mirror")} == dict.fromkeys(
        ("kafka", "capture", "mirror"), "up"
    )


@pytest.mark.parametrize("name", ["capture", "mirror"])
def test_a_killed_one_is_down_and_up_starts_it_alone(streaming: Home, name: str) -> None:
    other = {"capture": "mirror", "mirror": "capture"}[name]
    before = streaming.process(other).pid
    streaming.kill(name)
    assert streaming.states()[name] == "down"
    insert_brand(streaming, f"after {name}")
    streaming.up()
    assert streaming.process(other).pid == before
    wait_until(lambda: f"after {name}" in mirrored_brands(streaming))


@pytest.mark.parametrize("name", ["capture", "mirror"])
def test_one_that_crashed_is_started_again_by_itself(streaming: Home, name: str) -> None:
    keeper = streaming.process(name)
    (crashed,) = keeper.children()
    crashed.send_signal(signal.SIGSEGV)
    wait_until(lambda: [one.pid for one in keeper.children()] not in ([], [crashed.pid]))
    insert_brand(streaming, f"crashed {name}")
    wait_until(lambda: f"crashed {name}" in mirrored_brands(streaming))
    assert streaming.states()[name] == "up"
    assert "ended by SIGSEGV; it is started again in 0.2 s" in streaming.run("logs", name, "-n", "1000").stdout


def test_it_is_started_again_when_what_it_uses_has_moved(streaming: Home, free_port: int) -> None:
    before = {name: streaming.process(name).pid for name in ("capture", "mirror")}
    streaming.environment["RAINBOW_POSTGRES_PORT"] = str(free_port)
    streaming.up()
    assert streaming.process("capture").pid != before["capture"]
    assert streaming.process("mirror").pid == before["mirror"]
    insert_brand(streaming, "moved")
    wait_until(lambda: "moved" in mirrored_brands(streaming))


def test_logs_are_shown_and_down_stops_them_before_what_they_use(streaming: Home) -> None:
    assert len(streaming.run("logs", "capture", "-n", "2").stdout.splitlines()) == 2
    down = streaming.run("down")
    assert [line.split()[0] for line in down.stdout.splitlines()] == ["mirror", "capture", "kafka", "clickhouse", "postgres"]
    assert streaming.processes() == []


def test_they_are_not_ours_where_all_that_they_use_runs_elsewhere(kafka_jars: Path) -> None:
    with home(**NO_WAREHOUSE, RAINBOW_KAFKA_SERVERS="127.0.0.1:1", RAINBOW_POSTGRES_URL="postgresql://nobody:x@127.0.0.1:1/none") as made:
        assert made.run("up", "capture").stdout.split() == ["capture", "not", "ours"]
        assert made.processes() == []
