"""The API as a server: its command, its end, a day posted through it, and what a kill -9 in the middle of orders leaves."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg
import pytest
from typer.testing import CliRunner

from rainbow.cli import app as command_line
from rainbow.cli import data
from rainbow.datasets import open_dataset, replay, seed
from rainbow.datasets.posting import baskets, due, post
from rainbow.errors import ServiceError
from rainbow.serving import listening
from rainbow.source.schema import create_schema
from tests.integration.homes import Home, home
from tests.integration.orders_api import ORDERS, Server, fill, order, served

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.services

TOKEN = "a-token-of-this-test"
FIRST = date(2024, 8, 1)
SMALL = open_dataset("synthetic", 1, 0.001)


def test_a_taken_port_is_one_line_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServiceError, match=r"^port \d+ is taken: .*--port"):
        listening("127.0.0.1", taken.getsockname()[1])


def test_an_address_of_another_machine_is_one_line() -> None:
    with pytest.raises(ServiceError, match=r"^192\.0\.2\.1:0 cannot be listened on"):
        listening("192.0.2.1", 0)


def test_calls_under_way_are_answered_before_it_ends(small_shop: Connection) -> None:
    fill(small_shop)
    small_shop.execute("begin")
    small_shop.execute("select 1 from products where id = 1 for update")
    with served() as server:
        answers: list[httpx.Response] = []
        calling = threading.Thread(target=lambda: answers.append(httpx.post(server.url + ORDERS, json=order((1, 1)), timeout=30)))
        calling.start()
        while not small_shop.execute(
            "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        ).fetchone():
            threading.Event().wait(0.05)
        server.process.send_signal(signal.SIGTERM)
        threading.Event().wait(0.3)
        small_shop.execute("commit")
        calling.join()
    assert answers[0].status_code == 201


def test_workers_end_with_the_process_that_started_them(small_shop: Connection) -> None:
    fill(small_shop)
    server = Server(workers=2)
    server.start()
    server.wait_until_ready()
    family = psutil.Process(server.process.pid).children(recursive=True)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    assert psutil.wait_procs(family, timeout=30)[1] == []


def test_two_workers_count_together(small_shop: Connection) -> None:
    fill(small_shop)
    with served(workers=2) as server:
        for _ in range(20):
            assert httpx.get(f"{server.url}/ping").status_code == 200
        text = httpx.get(f"{server.url}/metrics").text
    assert 'rainbow_api_requests_total{method="GET",route="/ping",status="200"} 20.0' in text


def test_the_log_is_json_with_a_line_a_call_and_no_secret(small_shop: Connection, tmp_path: Path) -> None:
    fill(small_shop)
    small_shop.execute("alter table orders rename column payment_id to paid_by")
    server = Server(log=tmp_path / "log")
    server.start(RAINBOW_API_TOKEN=TOKEN)
    try:
        deadline = time.monotonic() + 30
        while "docs" not in (tmp_path / "log").read_text() or not answers(f"{server.url}/ping"):
            assert time.monotonic() < deadline
            threading.Event().wait(0.1)
        headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": "a-key-of-mine", "X-Request-Id": "mine-1"}
        assert httpx.post(server.url + ORDERS, json=order((1, 1)), headers=headers).status_code == 500
        assert httpx.get(server.url + ORDERS, headers={"Authorization": "Bearer wrong-and-secret"}).status_code == 401
    finally:
        server.process.terminate()
        server.process.wait(30)
    text = (tmp_path / "log").read_text()
    address, *lines = text.splitlines()
    assert address.startswith(server.url)
    calls = [one for one in map(json.loads, lines) if one["event"] == "call" and one["path"] == ORDERS]
    assert [(c["method"], c["status"]) for c in calls] == [("POST", 500), ("GET", 401)]
    assert calls[0]["request_id"] == "mine-1"
    password = urlsplit(os.environ["RAINBOW_POSTGRES_URL"]).password
    assert password
    for secret in (TOKEN, "wrong-and-secret", "a-key-of-mine", password):
        assert secret not in text


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


# a day through the API


@pytest.fixture
def seeded(shop: Connection) -> Connection:
    seed(shop, SMALL, start=FIRST)
    replay(shop, FIRST)
    shop.commit()
    return shop


def test_a_day_posted_twice_is_there_once(seeded: Connection) -> None:
    data.add_to(command_line)
    (before,) = seeded.execute("select count(*) from orders").fetchone() or (0,)
    seeded.execute("update inventories set quantity = 1000000")
    seeded.commit()
    orders = baskets(SMALL, FIRST, FIRST)
    assert orders
    with served() as server:
        words = ["replay", "--until", str(FIRST), "--through-api", "--url", server.url]
        first, again = CliRunner().invoke(command_line, words), CliRunner().invoke(command_line, words)
    assert f"{len(orders):,} placed, 0 known from before, 0 refused, 0 without an answer" in first.output
    assert f"0 placed, {len(orders):,} known from before, 0 refused" in again.output
    assert seeded.execute("select count(*) from orders where created_at > '2025-01-01'").fetchone() == (len(orders),)
    assert seeded.execute("select count(*) from orders").fetchone() == (before + len(orders),)


def test_orders_are_due_by_rate_or_by_the_pace_of_the_day() -> None:
    orders = baskets(SMALL, FIRST, FIRST)
    assert list(due(orders, rate=10, speed=None))[:3] == [0, 0.1, 0.2]
    paced = list(due(orders, rate=None, speed=60))
    assert paced == sorted(paced)
    assert 0 < paced[-1] <= 24 * 60


def test_an_api_that_is_not_there_is_one_line() -> None:
    with pytest.raises(ServiceError, match="start it with `rainbow api`"):
        asyncio.run(post([], "http://127.0.0.1:1"))


# kill -9


@pytest.fixture(scope="module")
def own() -> Iterator[Home]:
    with home() as made:
        made.up("postgres")
        yield made


async def keep_posting(url: str, keys: list[str], acknowledged: dict[str, int], disturbances: Callable[[int], None]) -> None:
    """Sixteen callers post an order for each key, and again with the same key until it is answered 201."""
    waiting = iter(keys)
    async with httpx.AsyncClient(base_url=url, timeout=20, trust_env=False) as http:

        async def caller() -> None:
            for key in waiting:
                drawn = random.Random(key)
                body = order(*((p, drawn.randint(1, 3)) for p in drawn.sample((1, 2, 3), drawn.randint(1, 3))))
                while key not in acknowledged:
                    try:
                        answer = await http.post(ORDERS, json=body, headers={"Idempotency-Key": key})
                    except httpx.TransportError:
                        await asyncio.sleep(0.1)
                        continue
                    assert answer.status_code in (201, 503), answer.text
                    if answer.status_code == 201:
                        acknowledged[key] = answer.json()["id"]
                    else:
                        await asyncio.sleep(0.1)
                await asyncio.to_thread(disturbances, len(acknowledged))

        await asyncio.gather(*(caller() for _ in range(16)))


def test_kill_9_of_postgresql_and_of_the_api_loses_and_doubles_no_order(
    own: Home, monkeypatch: pytest.MonkeyPatch, sized: Callable[[int, int], int]
) -> None:
    """PostgreSQL is killed when a third of the orders is placed, the API when two thirds are."""
    number = sized(300, 2000)
    with psycopg.connect(own.url("postgres"), autocommit=True) as connection:
        with connection.transaction():
            create_schema(connection)
        fill(connection)
        connection.execute("update inventories set quantity = 1000000")
    monkeypatch.setenv("RAINBOW_POSTGRES_URL", own.url("postgres"))
    server = Server()
    server.start()
    server.wait_until_ready()
    ahead, lock = [number // 3, 2 * number // 3], threading.Lock()
    acknowledged: dict[str, int] = {}

    def disturb(placed: int) -> None:
        with lock:
            if not ahead or placed < ahead[0]:
                return
            ahead.pop(0)
            if ahead:
                own.kill("postgres")
                own.up("postgres")
            else:
                server.process.kill()
                server.process.wait()
                server.start()

    try:
        asyncio.run(keep_posting(server.url, [f"order-{n}" for n in range(number)], acknowledged, disturb))
    finally:
        server.process.terminate()
        server.process.wait(30)
    assert ahead == []
    with psycopg.connect(own.url("postgres")) as connection:
        stored = [id_ for (id_,) in connection.execute("select id from orders")]
        assert sorted(stored) == sorted(acknowledged.values())
        assert len(set(stored)) == number
        kept = dict(connection.execute("select key, (answer::json ->> 'id')::bigint from idempotency_keys").fetchall())
        assert kept == acknowledged
        sums = """
            select p.id, p.sold_count, coalesce((select sum(quantity) from orderdetails l where l.product_id = p.id), 0),
                (select count(*) * 1000000 - sum(quantity) from inventories i where i.product_id = p.id)
            from products p where p.id < 4
        """
        for product, counted, ordered, taken in connection.execute(sums):
            assert counted == ordered == taken > 0, product
