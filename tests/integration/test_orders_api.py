"""The orders API over PostgreSQL: what an order writes, what is refused and how, keys, listing, and what surrounds a call."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api.database import Database, statement
from api.models import Line, NewOrder, Order, Placement, Position, Selection, Wanted
from api.repositories import OrderRepository, _selected
from api.retention import forget
from api.unit_of_work import UnitOfWork
from rainbow.settings import settings
from tests.integration.orders_api import ORDERS, call, configured, fill, order, with_client
from tests.integration.small_shop import BEFORE, DAY_1, DAY_2, DAY_3, at, sell

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.services

TOKEN = "a-token-of-this-test"


@pytest.fixture
def filled(small_shop: Connection) -> Iterator[Connection]:
    fill(small_shop)
    return small_shop


def post(body: Any, key: str | None = None, **options: Any) -> httpx.Response:
    return call("POST", ORDERS, json=body, headers={"Idempotency-Key": key} if key else {}, **options)


async def at_once(http: httpx.AsyncClient, bodies: list[Any], keys: list[str] | None = None) -> list[httpx.Response]:
    headers = [{"Idempotency-Key": key} for key in keys] if keys else [{}] * len(bodies)
    return await asyncio.gather(*(http.post(ORDERS, json=body, headers=h) for body, h in zip(bodies, headers, strict=True)))


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def fields_at_fault(answer: httpx.Response) -> set[str]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["request_id"] == answer.headers["x-request-id"]
    return {error.get("pointer") or error["parameter"] for error in problem.get("errors", [])}


# placing


def test_an_order_fixes_prices_and_discounts_takes_stock_and_counts_pieces(filled: Connection) -> None:
    answer = post(order((1, 2), (2, 5), (3, 3)))
    assert answer.status_code == 201
    placed = answer.json()
    lines = [(p["productId"], p["promotion_id"], p["quantity"], p["price"], p["amount"], p["discount"]) for p in placed["products"]]
    assert lines == [
        (1, 1, 2, "10.5000", "21.00", "2.10"),
        (2, 2, 5, "2.0000", "10.00", "1.25"),
        (3, None, 3, "0.3333", "1.00", "0.00"),
    ]
    assert (placed["amount"], placed["discount"], placed["total"]) == ("32.00", "3.35", "28.65")
    assert rows(filled, "select id, customer_id, payment_id from orders") == [(placed["id"], 1, 2)]
    stored = rows(
        filled, "select id, product_id, promotion_id, quantity, price::text, amount::text, discount::text from orderdetails order by 1"
    )
    assert stored == [(p["id"], *line) for p, line in zip(placed["products"], lines, strict=True)]
    assert rows(filled, "select product_id, id, quantity from inventories order by 2") == [(1, 1, 8), (2, 2, 0), (2, 3, 2), (3, 4, 7)]
    assert rows(filled, "select id, sold_count from products order by 1") == [(1, 2), (2, 5), (3, 3), (4, 0)]


def test_everything_that_an_order_touches_has_its_moment(filled: Connection) -> None:
    placed = post(order((1, 1), (2, 4))).json()
    moments = "select created_at, updated_at from orders union all select created_at, updated_at from orderdetails"
    touched = "select updated_at from products where id in (1, 2) union all select updated_at from inventories where id in (1, 2, 3)"
    (moment,) = {m for row in rows(filled, moments) for m in row} | {m for (m,) in rows(filled, touched)}
    assert placed["created_at"] == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert {m for (m,) in rows(filled, "select updated_at from products where id = 3")} == {BEFORE}


def test_a_row_of_the_future_does_not_go_back_in_time(filled: Connection) -> None:
    filled.execute("update products set updated_at = now() + interval '1 day' where id = 1")
    before = rows(filled, "select updated_at from products where id = 1")
    assert post(order((1, 1))).status_code == 201
    assert rows(filled, "select updated_at from products where id = 1") == before


def test_the_location_gives_the_same_order(filled: Connection) -> None:
    placed = post(order((1, 2), (3, 1)))
    found = call("GET", placed.headers["location"])
    assert found.status_code == 200
    assert found.json() == placed.json()


def test_pieces_of_a_product_that_is_named_twice_are_one_line(filled: Connection) -> None:
    placed = post(order((3, 1), (1, 1), (3, 2))).json()
    assert [(p["productId"], p["quantity"]) for p in placed["products"]] == [(3, 3), (1, 1)]


def test_two_orders_for_the_last_piece_are_one_order_and_a_409_that_says_so(filled: Connection) -> None:
    filled.execute("update inventories set quantity = 1 where product_id = 1")
    answers = with_client(lambda http: at_once(http, [order((1, 1)), order((1, 1))]))
    assert sorted(a.status_code for a in answers) == [201, 409]
    (refused,) = (a for a in answers if a.status_code == 409)
    assert fields_at_fault(refused) == {"#/products/0/productId"}
    assert refused.json()["detail"] == "product 1 (Oolong): 1 asked for, 0 in stock"
    assert refused.json()["productId"] == 1
    assert rows(filled, "select count(*), (select quantity from inventories where product_id = 1) from orders") == [(1, 0)]


def test_a_refused_order_leaves_nothing(filled: Connection) -> None:
    before = rows(filled, "select * from products order by id"), rows(filled, "select * from inventories order by id")
    assert post(order((1, 1), (2, 8)), key="k").status_code == 409
    assert (rows(filled, "select * from products order by id"), rows(filled, "select * from inventories order by id")) == before
    assert rows(filled, "select count(*) from orders") == rows(filled, "select count(*) from idempotency_keys") == [(0,)]


def test_a_product_without_a_row_of_stock_is_out_of_stock(filled: Connection) -> None:
    answer = post(order((1, 1), (4, 1)))
    assert answer.status_code == 409
    assert answer.json()["detail"] == "product 4 has no stock"


def test_orders_of_the_same_products_in_any_order_do_not_wait_in_a_circle(filled: Connection) -> None:
    filled.execute("update inventories set quantity = 1000")
    bodies = [order((1, 1), (2, 2), (3, 3)) if n % 2 else order((3, 3), (2, 2), (1, 1)) for n in range(100)]
    answers = with_client(lambda http: at_once(http, bodies))
    assert Counter(a.status_code for a in answers) == {201: 100}
    assert rows(filled, "select product_id, sum(quantity) from inventories group by 1 order by 1") == [(1, 900), (2, 1800), (3, 700)]
    assert rows(filled, "select sold_count from products order by id") == [(100,), (200,), (300,), (0,)]


# what is refused


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        (order((1, 1), customer=99), {"#/customerId"}),
        (order((1, 1), payment=99), {"#/payment_id"}),
        (order((1, 1), (98, 1), (99, 2), customer=99), {"#/customerId", "#/products/1/productId", "#/products/2/productId"}),
        (order((99, 1)), {"#/products/0/productId"}),
        (order((1, 0)), {"#/products/0/quantity"}),
        (order((1, -1)), {"#/products/0/quantity"}),
        (order((1, 2**31)), {"#/products/0/quantity"}),
        (order((1, 2**31 - 1), (1, 1)), {"#/products/0/productId"}),
        (order((2**63, 1)), {"#/products/0/productId"}),
        (order((1, 1), customer=10**400), {"#/customerId"}),
        (order((1, 1.5)), {"#/products/0/quantity"}),  # type: ignore[arg-type]
        (order((1, True)), {"#/products/0/quantity"}),
        (order(("1", 1)), {"#/products/0/productId"}),  # type: ignore[arg-type]
        (order(), {"#/products"}),
        (order(*((1, 1),) * 101), {"#/products"}),
        ({**order((1, 1)), "price": 1}, {"#/price"}),
        ({**order((1, 1)), "a/b~c": 1}, {"#/a~1b~0c"}),
        ({"customerId": 1, "payment_id": 2, "products": [{"productId": 1, "quantity": 1, "price": 0}]}, {"#/products/0/price"}),
        ({"customerId": 1}, {"#/payment_id", "#/products"}),
        ({"customerId": None, "payment_id": 1, "products": [{"productId": 1, "quantity": 1}]}, {"#/customerId"}),
        ([], {"#"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value)[:60],
)
def test_a_body_that_is_not_valid_is_a_400_with_its_fields(filled: Connection, body: Any, faults: set[str]) -> None:
    answer = post(body)
    assert answer.status_code == 400
    assert fields_at_fault(answer) == faults
    assert rows(filled, "select count(*) from orders") == [(0,)]


@pytest.mark.parametrize("text", [b"", b"null", b"{", b"\xff\xfe", b"[" * 20_000, b"\x00"])
def test_what_is_no_json_is_a_400(filled: Connection, text: bytes) -> None:
    answer = call("POST", ORDERS, content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert fields_at_fault(answer) == {"#"}


def test_a_body_is_bounded_whether_its_length_is_said_or_not(filled: Connection) -> None:
    async def parts() -> Any:
        for _ in range(100):
            yield b" " * 1000

    headers = {"Content-Type": "application/json"}
    for content in (b" " * 70_000, parts()):
        answer = call("POST", ORDERS, content=content, headers=headers)
        assert answer.status_code == 413
        assert fields_at_fault(answer) == set()


def test_an_amount_that_no_line_can_hold_is_a_400(filled: Connection) -> None:
    filled.execute("update products set price = 99999999999999 where id = 3")
    filled.execute("update inventories set quantity = 1000000 where product_id = 3")
    answer = post(order((1, 1), (3, 1_000_000)))
    assert answer.status_code == 400
    assert fields_at_fault(answer) == {"#/products/1/productId"}


def test_a_body_that_is_not_said_to_be_json_is_a_415(filled: Connection) -> None:
    answer = call("POST", ORDERS, content=b"{}", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert answer.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status", "fault"),
    [
        ("GET", f"{ORDERS}/77", 404, set()),
        ("GET", f"{ORDERS}/0", 400, {"id"}),
        ("GET", f"{ORDERS}/abc", 400, {"id"}),
        ("GET", f"{ORDERS}/{2**63}", 400, {"id"}),
        ("GET", "/api/v1/nothing", 404, set()),
        ("GET", f"{ORDERS}?limit=0", 400, {"limit"}),
        ("GET", f"{ORDERS}?limit=101", 400, {"limit"}),
        ("GET", f"{ORDERS}?cursor=abc", 400, {"cursor"}),
        ("GET", f"{ORDERS}?from=yesterday&to=2024-13-01", 400, {"from", "to"}),
        ("GET", f"{ORDERS}?to=0", 400, {"to"}),
        ("GET", f"{ORDERS}?customer=1", 400, {"customer"}),
        ("GET", f"{ORDERS}?customer_id=x", 400, {"customer_id"}),
    ],
)
def test_a_call_for_what_is_not_there_is_a_problem(filled: Connection, method: str, path: str, status: int, fault: set[str]) -> None:
    answer = call(method, path)
    assert answer.status_code == status
    assert fields_at_fault(answer) == fault


def test_a_method_that_is_not_there_is_a_problem_that_names_those_that_are(filled: Connection) -> None:
    answer = call("DELETE", ORDERS)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"
    assert fields_at_fault(answer) == set()


# keys


def test_the_same_key_and_body_give_the_same_answer(filled: Connection) -> None:
    first, again = post(order((1, 2)), key="one"), post(order((1, 2)), key="one")
    assert (again.status_code, again.content, again.headers["location"]) == (201, first.content, first.headers["location"])
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert rows(filled, "select count(*), (select sold_count from products where id = 1) from orders") == [(1, 2)]


def test_the_same_key_gives_the_same_answer_when_the_shop_has_changed(filled: Connection) -> None:
    first = post(order((1, 2)), key="one")
    filled.execute("update products set price = 99 where id = 1")
    filled.execute("update inventories set quantity = 0")
    filled.execute("delete from orderdetails")
    assert post(order((1, 2)), key="one").content == first.content


def test_the_same_key_with_another_body_is_a_409_that_says_so(filled: Connection) -> None:
    post(order((1, 2)), key="one")
    answer = post(order((1, 3)), key="one")
    assert answer.status_code == 409
    assert fields_at_fault(answer) == {"Idempotency-Key"}
    assert "another body" in answer.json()["detail"]


def test_a_body_is_the_same_however_it_is_written(filled: Connection) -> None:
    first = post(order((1, 2)), key="one")
    text = b'{"products": [ {"quantity": 2, "productId": 1} ], "payment_id": 2, "customerId": 1}'
    again = call("POST", ORDERS, content=text, headers={"Content-Type": "application/json", "Idempotency-Key": "one"})
    assert again.content == first.content


def test_a_refused_order_leaves_its_key_free(filled: Connection) -> None:
    assert post(order((1, 11)), key="one").status_code == 409
    assert post(order((1, 1)), key="one").status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "ä", "x" * 256])
def test_a_key_that_is_none_is_a_400(filled: Connection, key: str) -> None:
    answer = call("POST", ORDERS, json=order((1, 1)), headers=[(b"Idempotency-Key", key.encode())])
    assert answer.status_code == 400
    assert fields_at_fault(answer) == {"Idempotency-Key"}


def test_one_key_many_times_at_once_is_one_order_and_one_answer(filled: Connection) -> None:
    """Even for the last piece: who comes second gets the first one's answer, not that there is none left."""
    filled.execute("update inventories set quantity = 1 where product_id = 1")
    answers = with_client(lambda http: at_once(http, [order((1, 1))] * 12, ["one"] * 12))
    assert {(a.status_code, a.content) for a in answers} == {(201, answers[0].content)}
    assert rows(filled, "select count(*), (select quantity from inventories where product_id = 1) from orders") == [(1, 0)]


def test_one_key_with_different_bodies_at_once_is_one_order(filled: Connection) -> None:
    answers = with_client(lambda http: at_once(http, [order((n % 3 + 1, 1)) for n in range(12)], ["one"] * 12))
    assert {a.status_code for a in answers} == {201, 409}
    assert len({a.content for a in answers if a.status_code == 201}) == 1
    assert rows(filled, "select count(*) from orders") == [(1,)]


def test_old_keys_are_forgotten(filled: Connection) -> None:
    for key in ("old", "new"):
        post(order((1, 1)), key=key)
    filled.execute("update idempotency_keys set created_at = now() - interval '8 days' where key = 'old'")

    async def forgotten() -> int:
        database = Database(settings().url_of("postgres"), size=1, patience=5)
        await database.open()
        try:
            return await forget(database, 7)
        finally:
            await database.close()

    assert asyncio.run(forgotten()) == 1
    assert rows(filled, "select key from idempotency_keys") == [("new",)]


# listing


def sold(filled: Connection) -> None:
    """Seven orders on three days, two of them at one instant; customer 2 has the even ones."""
    for n in range(1, 8):
        sell(filled, n, at((DAY_1, DAY_2, DAY_3)[n % 3], 23.999 if n % 3 == 0 else 0 if n < 4 else 12))
    filled.execute("update orders set customer_id = 2 where id % 2 = 0")


async def pages(http: httpx.AsyncClient, path: str) -> list[list[int]]:
    found = []
    following: str | None = path
    while following:
        answer = await http.get(following)
        assert answer.status_code == 200, answer.text
        found.append([one["id"] for one in answer.json()["orders"]])
        following = answer.links["next"]["url"] if "next" in answer.links else None
        assert (following is None) == (answer.json()["next"] is None)
    return found


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("", "true"),
        ("customer_id=2", "customer_id = 2"),
        ("from=2024-09-02", "created_at >= '2024-09-02'"),
        ("to=2024-09-02", "created_at < '2024-09-03'"),
        ("from=2024-09-01&to=2024-09-01", "created_at < '2024-09-02'"),
        ("customer_id=2&from=2024-09-02&to=2024-09-03", "customer_id = 2 and created_at >= '2024-09-02'"),
        ("from=2024-09-03&to=2024-09-01", "false"),
        ("from=0001-01-01&to=9999-12-31", "true"),
    ],
)
def test_orders_are_listed_newest_first_and_by_customer_and_day(filled: Connection, query: str, where: str) -> None:
    sold(filled)
    expected = [id_ for (id_,) in rows(filled, f"select id from orders where {where} order by created_at desc, id desc")]
    for limit in (1, 3, 7):
        found = with_client(lambda http, limit=limit: pages(http, f"{ORDERS}?limit={limit}&{query}"))  # type: ignore[misc]
        assert [id_ for page in found for id_ in page] == expected
        assert all(len(page) == limit for page in found[:-1])


def test_an_order_that_comes_between_two_pages_moves_nothing(filled: Connection) -> None:
    sold(filled)

    async def read(http: httpx.AsyncClient) -> list[int]:
        first = await http.get(f"{ORDERS}?limit=3")
        await http.post(ORDERS, json=order((1, 1)))
        rest = await pages(http, first.links["next"]["url"])
        return [one["id"] for one in first.json()["orders"]] + [id_ for page in rest for id_ in page]

    expected = [id_ for (id_,) in rows(filled, "select id from orders order by created_at desc, id desc")]
    assert with_client(read) == expected


@pytest.mark.parametrize("customer", [None, 3])
def test_page_10000_costs_what_page_1_costs(filled: Connection, customer: int | None) -> None:
    filled.execute("insert into customers select n, 'c', now(), now() from generate_series(3, 5) n")
    filled.execute(
        "insert into orders (customer_id, payment_id, created_at, updated_at)"
        " select 3 + n % 2, 1, timestamptz '2024-01-01' + n * interval '1 second', now() from generate_series(1, 450000) n"
    )
    filled.execute("analyze orders")
    blocks = []
    for page in (1, 10_000):
        after = Position(at(DAY_1.replace(month=1)) + timedelta(seconds=450_000 - (page - 1) * 20 * (2 if customer else 1)), 2**40)
        wanted, parameters = _selected(Selection(21, customer, after=after if page > 1 else None))
        text = re.sub(r"\$(\d+)", r"%(p\1)s", wanted.text.decode())
        values = {f"p{n}": value for n, value in enumerate(parameters, 1)}
        ((plan,),) = filled.execute(f"explain (analyze, buffers, format json) {text}", values).fetchall()
        assert "Seq Scan on orders" not in str(plan)
        blocks.append(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])
    assert blocks[1] <= blocks[0] + 5
    assert blocks[0] < 200


# what surrounds a call


def test_ping_ready_and_information(filled: Connection) -> None:
    assert call("GET", "/ping").json() == {"status": "ok"}
    assert call("GET", "/ready").json() == {"status": "ok"}
    assert call("GET", "/").json()["orders"] == ORDERS


def test_a_request_id_goes_through_if_it_is_one(filled: Connection) -> None:
    assert call("GET", "/ping", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for odd in ("a b", "x" * 129, "a\tb", '"'):
        assert re.fullmatch("[0-9a-f]{32}", call("GET", "/ping", headers={"X-Request-Id": odd}).headers["x-request-id"])


@pytest.mark.parametrize("path", ["/", "/ready", "/metrics", "/docs", "/openapi.json", ORDERS, "/nothing"])
def test_with_a_token_nobody_is_let_in_without_it(filled: Connection, path: str) -> None:
    guarded = configured(api_token=SecretStr(TOKEN))
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": TOKEN}):
        answer = call("GET", path, guarded, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert fields_at_fault(answer) == set()
    assert call("GET", path, guarded, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == (404 if path == "/nothing" else 200)
    assert call("GET", "/ping", guarded).status_code == 200


def test_other_pages_may_call_only_if_a_setting_names_them(filled: Connection) -> None:
    asking = {"Origin": "https://a.example"}
    assert "access-control-allow-origin" not in call("GET", "/ping", headers=asking).headers
    named = configured(api_cors_origins="https://a.example, https://b.example")
    assert call("GET", "/ping", named, headers=asking).headers["access-control-allow-origin"] == "https://a.example"
    assert "access-control-allow-origin" not in call("GET", "/ping", named, headers={"Origin": "https://c.example"}).headers


def test_metrics_count_calls_by_route_and_status(filled: Connection) -> None:
    async def calls(http: httpx.AsyncClient) -> str:
        await http.post(ORDERS, json=order((1, 1)))
        for id_ in (1, 2, 3):
            await http.get(f"{ORDERS}/{id_ + 50}")
        await http.get("/some/where")
        return (await http.get("/metrics")).text

    text = with_client(calls)
    assert 'rainbow_api_requests_total{method="POST",route="/api/v1/orders",status="201"} 1.0' in text
    assert 'rainbow_api_requests_total{method="GET",route="/api/v1/orders/{id}",status="404"} 3.0' in text
    assert 'route="unmatched",status="404"} 1.0' in text
    assert "rainbow_api_pool_connections " in text


def test_the_pages_need_no_network(filled: Connection) -> None:
    page = call("GET", "/docs").text
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith("/"), address
        assert call("GET", address).status_code == 200
    assert "https://" not in page


def test_the_example_of_the_document_can_be_sent(filled: Connection) -> None:
    """It is made of what this shop has."""
    filled.execute("update inventories set quantity = 0 where product_id <> 3")

    async def example(http: httpx.AsyncClient) -> Any:
        deadline = time.monotonic() + 20
        while True:
            (found,) = (await http.get("/openapi.json")).json()["components"]["schemas"]["NewOrder"]["examples"]
            if found["products"][0]["productId"] == 3:
                return found
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    assert post(with_client(example)).status_code == 201


def test_the_document_knows_no_422(filled: Connection) -> None:
    document = call("GET", "/openapi.json")
    assert "422" not in document.text
    assert "ValidationError" not in document.text


def test_a_database_that_is_down_is_a_503_that_says_when_to_come_back(filled: Connection) -> None:
    nowhere = configured(postgres_url=SecretStr("postgresql://u:secret@127.0.0.1:1/d"), api_pool_timeout=0.2)
    for method, path in (("GET", "/ready"), ("GET", ORDERS), ("POST", ORDERS)):
        answer = call(method, path, nowhere, json=order((1, 1)) if method == "POST" else None)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert fields_at_fault(answer) == set()
        assert "secret" not in answer.text
    assert call("GET", "/ping", nowhere).status_code == 200


def test_a_shop_without_tables_is_a_503_that_says_what_to_do(database: str) -> None:
    for method, path in (("GET", "/ready"), ("GET", ORDERS), ("POST", ORDERS)):
        answer = call(method, path, json=order((1, 1)) if method == "POST" else None)
        assert answer.status_code == 503
        assert "rainbow seed" in answer.json()["detail"]


def test_an_error_of_ours_is_a_500_without_a_word_of_it(filled: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("select secret from somewhere")

    monkeypatch.setattr(OrderRepository, "open", fails)
    answer = post(order((1, 1)))
    assert answer.status_code == 500
    assert fields_at_fault(answer) == set()
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_the_log_of_an_error_of_ours_has_nothing_that_the_caller_sent(
    filled: Connection, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(OrderRepository, "open", fails)
    token = "a-token-of-this-test"
    settings = configured(api_token=SecretStr(token))
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "a-key-of-mine"}
    assert call("POST", ORDERS, settings, json=order((1, 1)), headers=headers).status_code == 500
    logged = capfd.readouterr().out
    assert '"exc_type":"RuntimeError"' in logged
    assert token not in logged
    assert "a-key-of-mine" not in logged


def test_a_browser_is_asked_for_the_token_as_a_password(filled: Connection) -> None:
    settings = configured(api_token=SecretStr("a-token-of-this-test"))
    refused = call("GET", "/dashboard", settings)
    assert (refused.status_code, refused.headers["www-authenticate"].split()[0]) == (401, "Basic")
    assert call("GET", "/dashboard", settings, auth=("me", "another-token-of-mine")).status_code == 401
    assert call("GET", "/dashboard", settings, headers={"Authorization": "Basic %%%"}).status_code == 401
    assert call("GET", "/dashboard", settings, auth=("me", "a-token-of-this-test")).status_code == 200
    assert call("GET", ORDERS, settings, auth=("me", "a-token-of-this-test")).status_code == 401


def test_an_error_of_sql_is_a_500_without_a_word_of_it(filled: Connection) -> None:
    filled.execute("alter table orders rename column payment_id to paid_by")
    answer = post(order((1, 1)))
    assert answer.status_code == 500
    assert "payment_id" not in answer.text


def test_the_database_comes_back(filled: Connection) -> None:
    """Every connection of the pool is lost: at most a few calls are told to come again."""

    async def work(http: httpx.AsyncClient) -> list[int]:
        await at_once(http, [order((3, 1))] * 3)
        filled.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'rainbow-api' and datname = current_database()"
        )
        return [(await http.post(ORDERS, json=order((1, 1)))).status_code for _ in range(5)]

    assert set(with_client(work)) <= {201}


# the unit of work


def in_a_unit_of_work(work: Any) -> Any:
    async def run() -> Any:
        database = Database(settings().url_of("postgres"), size=2, patience=5)
        await database.open()
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(run())


def test_a_unit_of_work_is_undone_unless_it_was_committed(filled: Connection) -> None:
    async def work(database: Database, commits: bool) -> None:
        async with UnitOfWork(database) as unit:
            opening = await unit.orders.open(NewOrder(1, 1, (Wanted(1, 1),)), None)
            line = Line(
                opening.line_ids[0],
                1,
                None,
                1,
                opening.products[1].price,
                opening.products[1].price.quantize(1),
                opening.products[1].price * 0,
            )
            unit.orders.add(Placement(Order(opening.order_id, 1, 1, opening.at, (line,)), ()), None, b"")
            if commits:
                await unit.commit()
            else:
                raise LookupError

    with pytest.raises(LookupError):
        in_a_unit_of_work(lambda database: work(database, False))
    assert rows(filled, "select count(*), (select count(*) from orderdetails) from orders") == [(0, 0)]
    in_a_unit_of_work(lambda database: work(database, True))
    assert rows(filled, "select count(*), (select count(*) from orderdetails) from orders") == [(1, 1)]


def test_of_two_units_of_work_on_one_product_the_second_waits_and_sees_what_the_first_did(filled: Connection) -> None:
    wanted = NewOrder(1, 1, (Wanted(1, 1),))

    async def work(database: Database) -> tuple[bool, int]:
        async with UnitOfWork(database) as first, UnitOfWork(database) as second:
            await first.orders.open(wanted, None)
            waiting = asyncio.create_task(second.orders.open(wanted, None))
            await asyncio.sleep(0.2)
            waited = not waiting.done()
            first.orders._session.queue(statement("take", "update inventories set quantity = 3 where product_id = 1"))
            await first.commit()
            return waited, (await waiting).products[1].stock[0].quantity

    assert in_a_unit_of_work(work) == (True, 3)
