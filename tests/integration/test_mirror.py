"""The mirror: ClickHouse's copy of a table is what its topic's events say, whatever they bring."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from confluent_kafka import TopicPartition

from rainbow.errors import LockedError
from rainbow.olap.client import connect
from rainbow.olap.mirror import tables
from rainbow.olap.mirror.kept import create_all
from rainbow.settings import Settings
from rainbow.source.tables import BY_NAME, TABLES
from streaming import topics
from streaming.clients import administrator
from streaming.forgetting import forget
from streaming.mirror import trust
from streaming.mirror.consumer import Mirror
from tests.integration.change_events import Event, as_json, event, forget_topics, row, send, tombstone, truncation
from tests.integration.mirror_story import letters, wait_until_read

pytestmark = pytest.mark.services


@contextmanager
def mirroring() -> Iterator[Mirror]:
    """A mirror in a thread; what it raises is raised at the end."""
    mirror = Mirror()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            mirror.run()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield mirror
    finally:
        mirror.stop()
        thread.join(30)
    assert not thread.is_alive()
    if raised:
        raise raised[0]


@pytest.fixture
def clickhouse(stream_stack: Settings) -> Iterator[Any]:
    """A client for a ClickHouse without a mirror; Kafka has no topics of ours."""
    with connect() as client:
        client.command("drop database if exists mirror sync")
        forget_topics()
        yield client


Mirrored = Callable[..., None]


@pytest.fixture
def mirrored(clickhouse: Any) -> Iterator[Mirrored]:
    """A function that sends events and waits until the mirror has taken them."""
    with mirroring():

        def take(*events: Event) -> None:
            send(events)
            wait_until_read()

        yield take


def rows(client: Any, table: str, columns: str = "*", *, deleted: bool = False) -> list[tuple[Any, ...]]:
    found = client.query(f"select {columns} from mirror.`{table}` final order by 1", query_tz="UTC", tz_mode="aware").result_rows
    return [tuple(one) for one in found]


def test_a_row_arrives_as_it_was_sent(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(event("products", "c", 100, after=row("products", 1, name="Trà 🍵\0'\\", rating_average="4.50")))
    (found,) = clickhouse.query("select * from mirror.products final", query_tz="UTC", tz_mode="aware").named_results()
    assert found == {
        "id": 1,
        "name": "Trà 🍵\0'\\",
        "price": Decimal("10.5000"),
        "original_price": None,
        "rating_average": Decimal("4.50"),
        "review_count": 3,
        "sold_count": 0,
        "category_id": 1,
        "seller_id": 1,
        "brand_id": None,
        "promotion_id": None,
        "created_at": datetime(2024, 9, 1, 10, tzinfo=UTC),
        "updated_at": datetime(2024, 9, 1, 10, 0, 0, 500000, UTC),
        "_lsn": 100,
        "_deleted": 0,
        "_txid": 700,
        "_committed_at": datetime(2024, 9, 1, tzinfo=UTC),
        "_snapshot": 0,
    }


def test_a_row_that_arrives_after_a_truncation_which_it_precedes_is_gone(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(event("brands", "t", 200, partition=0))
    mirrored(event("brands", "c", 100, after=row("brands", 1), partition=1), event("brands", "c", 300, after=row("brands", 2), partition=2))
    assert rows(clickhouse, "brands", "id, _lsn") == [(2, 300)]
    assert clickhouse.query("select id, _lsn, _deleted from mirror.brands_history final order by all").result_rows == [
        (1, 100, 0),
        (1, 200, 1),
        (2, 300, 0),
    ]


def test_the_newest_version_is_the_row_and_the_history_has_all(clickhouse: Any, mirrored: Mirrored) -> None:
    versions = [row("brands", 1, name=name) for name in ("A", "B", "A", "C")]
    mirrored(
        event("brands", "c", 100, after=versions[0]),
        *(event("brands", "u", 100 + n, before=versions[n - 1], after=versions[n]) for n in (1, 2, 3)),
        event("brands", "c", 110, after=row("brands", 2)),
        event("brands", "d", 120, before=row("brands", 2)),
        tombstone("brands", {"id": 2}),
    )
    assert rows(clickhouse, "brands", "id, name, _lsn") == [(1, "C", 103)]
    history = clickhouse.query("select id, _lsn, name, _deleted from mirror.brands_history final order by id, _lsn").result_rows
    assert history == [
        (1, 100, "A", 0),
        (1, 101, "B", 0),
        (1, 102, "A", 0),
        (1, 103, "C", 0),
        (2, 110, "Bách Hoá", 0),
        (2, 120, "Bách Hoá", 1),
    ]
    assert letters() == []


def test_a_changed_key_is_a_delete_and_a_create_at_one_position(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(
        event("brands", "c", 100, after=row("brands", 1)),
        event("brands", "d", 200, before=row("brands", 1)),
        tombstone("brands", {"id": 1}),
        event("brands", "c", 200, after=row("brands", 7)),
    )
    assert rows(clickhouse, "brands", "id, name") == [(7, "Bách Hoá")]


def test_events_read_again_change_nothing(clickhouse: Any, mirrored: Mirrored) -> None:
    told = [
        event("brands", "c", 100, after=row("brands", 1, name="A")),
        event("brands", "u", 101, after=row("brands", 1, name="B")),
        event("brands", "c", 102, after=row("brands", 2)),
        event("brands", "d", 103, before=row("brands", 2)),
        *truncation("brands", 104),
        event("brands", "c", 105, after=row("brands", 3)),
    ]
    every = "select * from mirror.brands_history final order by id, _lsn"
    mirrored(*told)
    before = rows(clickhouse, "brands"), clickhouse.query(every).result_rows
    mirrored(*told, *told[:2])
    assert (rows(clickhouse, "brands"), clickhouse.query(every).result_rows) == before
    assert [one[0] for one in before[0]] == [3]


def test_truncate_empties_the_table_and_only_what_came_before(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(
        *(event("brands", "c", 100 + n, after=row("brands", n)) for n in range(20)),
        *truncation("brands", 200),
        *(event("brands", "c", 200 + n, after=row("brands", n)) for n in (5, 30)),
    )
    assert rows(clickhouse, "brands", "id") == [(5,), (30,)]
    gone = clickhouse.query("select count(), min(_lsn), max(_lsn), any(name) from mirror.brands_history final where _deleted").first_row
    assert gone == (20, 200, 200, "Bách Hoá")
    mirrored(*truncation("brands", 300))
    assert rows(clickhouse, "brands") == []


def test_a_value_that_was_not_written_again_is_taken_from_the_version_before(clickhouse: Any, mirrored: Mirrored) -> None:
    left_out = "__debezium_unavailable_value"
    big = "x" * 100_000
    mirrored(event("brands", "c", 100, after=row("brands", 1, name=big)), event("brands", "c", 101, after=row("brands", 2, name="old")))
    mirrored(
        # from ClickHouse
        event("brands", "u", 110, after=row("brands", 1, name=left_out, updated_at="2024-09-02T00:00:00Z")),
        # from the batch, in order
        event("brands", "u", 111, after=row("brands", 2, name="new")),
        event("brands", "u", 112, after=row("brands", 2, name=left_out)),
        event("brands", "u", 113, after=row("brands", 2, name=left_out)),
        # from the before image
        event("brands", "c", 114, after=row("brands", 3, name="image")),
        event("brands", "u", 115, before=row("brands", 3, name="image"), after=row("brands", 3, name=left_out)),
    )
    assert rows(clickhouse, "brands", "id, name, _lsn") == [(1, big, 110), (2, "new", 113), (3, "image", 115)]
    # read again when a later value is there: each version keeps its own
    mirrored(event("brands", "u", 120, after=row("brands", 2, name="newest")))
    mirrored(event("brands", "u", 112, after=row("brands", 2, name=left_out)))
    history = clickhouse.query("select _lsn, name from mirror.brands_history final where id = 2 order by _lsn").result_rows
    assert history == [(101, "old"), (111, "new"), (112, "new"), (113, "new"), (120, "newest")]
    assert letters() == []


def test_a_delete_that_brings_only_its_key_keeps_the_columns_in_the_history(clickhouse: Any, mirrored: Mirrored) -> None:
    zeroed = dict.fromkeys(row("products", 1), None) | {"id": 1, "name": "", "price": "0", "created_at": "1970-01-01T00:00:00Z"}
    mirrored(*(event("products", "c", 100 + n, after=row("products", n, name=f"N{n}")) for n in (1, 2)))
    mirrored(
        event("products", "d", 110, before=zeroed),
        event("products", "d", 111, before=None, key={"id": 2}),
        event("products", "d", 112, before=None, key={"id": 9}),
    )
    assert rows(clickhouse, "products") == []
    gone = clickhouse.query("select id, name, price from mirror.products_history final where _deleted order by id").result_rows
    assert gone == [(1, "N1", Decimal("10.5")), (2, "N2", Decimal("10.5")), (9, "", Decimal(0))]
    assert letters() == []


def test_what_a_delete_leaves_out_is_of_its_own_time_though_capture_sends_it_again_after_later_ones(
    clickhouse: Any, mirrored: Mirrored
) -> None:
    told = [
        event("brands", "c", 100, after=row("brands", 1, name="A")),
        event("brands", "d", 101, before=None, key={"id": 1}),
        event("brands", "c", 102, after=row("brands", 1, name="B")),
        event("brands", "d", 103, before=None, key={"id": 1}),
        event("brands", "c", 104, after=row("brands", 1, name="C")),
    ]
    every = "select name, _deleted from mirror.brands_history final where id = 1 order by _lsn"
    whole = [("A", 0), ("A", 1), ("B", 0), ("B", 1), ("C", 0)]
    # in the batch of what it follows, in the one after, and with its predecessor in the batch before
    for told_again in ([*told, *told[1:]], told[3:], [*told[2:], *told[1:], *told[3:]]):
        mirrored(*told_again)
        assert clickhouse.query(every).result_rows == whole


NOT_EXACT = [
    ("price", "NaN"),
    ("price", "Infinity"),
    ("price", "1.23456"),
    ("price", "123456789012345.0"),
    ("price", 1.5),
    ("price", "AQ=="),
    ("created_at", "infinity"),
    ("created_at", "-infinity"),
    ("created_at", "+292278994-08-16T23:00:00.000000Z"),
    ("created_at", "1500-01-01T00:00:00Z"),
    ("sold_count", 1 << 70),
    ("sold_count", 1.5),
    ("sold_count", "many"),
]


def test_a_value_that_the_type_does_not_hold_exactly_is_a_dead_letter_and_stops_no_other_row(clickhouse: Any, mirrored: Mirrored) -> None:
    bad = [event("products", "c", 100 + n, after=row("products", n, **{column: value})) for n, (column, value) in enumerate(NOT_EXACT)]
    good = [event("products", "c", 200 + n, after=row("products", 100 + n)) for n in range(len(bad))]
    mirrored(*(one for pair in zip(bad, good, strict=True) for one in pair), event("brands", "c", 300, after=row("brands", 1)))
    assert rows(clickhouse, "products", "id") == [(100 + n,) for n in range(len(bad))]
    assert rows(clickhouse, "brands", "id") == [(1,)]
    told = {orjson.loads(letter["key"])["id"]: letter for letter in letters()}
    assert len(letters()) == len(told) == len(bad)
    for n, (column, _) in enumerate(NOT_EXACT):
        assert told[n]["table"] == "products"
        assert told[n]["reason"].startswith(f"column {column}: ")
        assert told[n]["value"] == (bad[n][2] or b"").decode()


def test_a_row_is_deleted_though_its_before_image_does_not_fit(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(event("products", "c", 100, after=row("products", 1)))
    mirrored(
        event("products", "u", 101, before=row("products", 1), after=row("products", 1, name="New", price="NaN")),
        event("products", "d", 102, before=row("products", 1, name="New", price="NaN")),
    )
    assert rows(clickhouse, "products") == []
    gone = clickhouse.query("select name, price from mirror.products_history final where _deleted").result_rows
    assert gone == [("New", Decimal("10.5"))]
    assert len(letters()) == 1


def test_what_is_no_change_event_is_a_dead_letter(clickhouse: Any, mirrored: Mirrored) -> None:
    topic, key = topics.topic_of("brands"), b'{"id":1}'
    bad = [b"plain text", b"\xff\xfe", b"[1]", b"7", as_json(row("brands", 1)), b'{"op":"x","source":{"lsn":1,"ts_ms":1}}', b"", b"{}"]
    bad += [b'{"op":"c","source":{"lsn":"1","ts_ms":1},"after":{"id":1}}', b'{"op":"c","source":{"lsn":-1,"ts_ms":1},"after":{"id":1}}']
    bad += [b'{"op":"c","source":{"lsn":1,"ts_ms":1},"after":null}', b'{"op":"c","source":7}', b'{"payload":null}']
    mirrored(*((topic, key, value, 0) for value in bad), event("brands", "c", 9, after=row("brands", 1)))
    assert rows(clickhouse, "brands", "id") == [(1,)]
    assert [letter["offset"] for letter in letters()] == list(range(len(bad)))
    assert letters()[1]["value"] == "//4="


def test_debezium_s_schema_around_an_event_is_taken_off(clickhouse: Any, mirrored: Mirrored) -> None:
    topic, key, value, _ = event("brands", "c", 100, after=row("brands", 1))
    wrapped = as_json({"schema": {"type": "struct"}, "payload": orjson.loads(value or b"")})
    mirrored((topic, as_json({"schema": {}, "payload": orjson.loads(key or b"")}), wrapped, None))
    assert rows(clickhouse, "brands", "id, name") == [(1, "Bách Hoá")]


def test_a_table_that_nobody_declared_is_made_from_its_events(clickhouse: Any, mirrored: Mirrored) -> None:
    after = {"shop": "north", "day": 19000, "sum": "1.50", "open": True, "share": 0.5, "tags": ["a"], "note": None}
    key = {"shop": "north", "day": 19000}
    mirrored(event("takings", "c", 100, after=after, key=key))
    mirrored(event("takings", "u", 101, after={**after, "note": "late"}, key=key))
    mirrored(event("takings", "c", 102, after={**after, "day": 19001}, key={**key, "day": 19001}))
    columns = "shop, day, sum, open, share, tags, note"
    assert rows(clickhouse, "takings", columns) == [
        ("north", 19000, "1.50", True, 0.5, '["a"]', "late"),
        ("north", 19001, "1.50", True, 0.5, '["a"]', None),
    ]
    mirrored(event("takings", "d", 103, key=key))
    assert rows(clickhouse, "takings", "day") == [(19001,)]
    assert len(clickhouse.query("select 1 from mirror.takings_history final").result_rows) == 4


def test_columns_come_go_and_widen(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(event("brands", "c", 100, after=row("brands", 1)))
    for n, value in enumerate([7, 1.5, "text", True, None, {"a": 1}], start=1):
        mirrored(event("brands", "u", 100 + n, after=row("brands", 1, extra=value)))
    history = clickhouse.query("select _lsn, extra from mirror.brands_history final order by _lsn").result_rows
    assert history == [(100, None), (101, "7"), (102, "1.5"), (103, "text"), (104, "true"), (105, None), (106, '{"a":1}')]
    without = row("brands", 1)
    del without["name"]
    mirrored(event("brands", "u", 110, after=without), event("brands", "c", 111, after=row("brands", 2, name="still")))
    assert rows(clickhouse, "brands", "id, name") == [(1, None), (2, "still")]
    assert letters() == []


def test_a_whole_number_column_becomes_a_float_only_where_that_is_exact(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(event("brands", "c", 100, after=row("brands", 1, small=7, large=(1 << 53) + 1)))
    mirrored(event("brands", "c", 101, after=row("brands", 2, small=0.5, large=0.5)))
    assert rows(clickhouse, "brands", "id, small, large") == [(1, 7.0, "9007199254740993"), (2, 0.5, "0.5")]


def test_an_event_without_a_key_and_names_of_the_mirror_s_own_are_dead_letters(clickhouse: Any, mirrored: Mirrored) -> None:
    topic, _, value, _ = event("unkeyed", "c", 100, after={"a": 1})
    mirrored(
        (topic, None, value, 0), event("brands", "c", 101, after=row("brands", 1, _lsn=5)), event("_snapshots", "c", 1, after={"id": 1})
    )
    reasons = sorted(letter["reason"] for letter in letters())
    assert len(reasons) == 3
    assert reasons[0].startswith("column _lsn: ")
    assert reasons[1].startswith("it has no key")
    assert "_snapshots" in reasons[2]


def test_tables_of_a_name_that_the_mirror_uses_itself_are_left_out_and_stop_nothing(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(event("brands", "c", 100, after=row("brands", 1)))
    mirrored(
        *truncation("brands_history", 200, snapshot="first"),
        event("brands_history", "r", 200, after={"id": 7}, snapshot="last"),
        event("takings_to_history", "c", 201, after={"id": 7}),
        event("brands", "c", 202, after=row("brands", 2)),
    )
    assert rows(clickhouse, "brands", "id") == [(1,), (2,)]
    assert clickhouse.query("select count() from mirror.brands_history").first_row == (2,)
    assert all("the mirror keeps tables of its own under such names" in letter["reason"] for letter in letters())
    assert {letter["table"] for letter in letters()} == {"brands_history", "takings_to_history"}


def test_a_column_that_was_declared_since_a_table_was_made_is_added_with_its_type(clickhouse: Any) -> None:
    create_all(clickhouse, TABLES)
    # as it was made before they were declared
    for name in ("products_to_history", "products_to_placements", "products", "products_history", "_placements"):
        clickhouse.command(f"drop table mirror.{name} sync")
    earlier = {name: type_ for name, type_ in tables.columns(BY_NAME["products"]).items() if name not in ("price", "sold_count")}
    for statement in tables.create("products", "id", earlier):
        clickhouse.command(statement)
    with mirroring():
        send([event("products", "c", 100, after=row("products", 1))])
        wait_until_read()
    for table in ("products", "products_history"):
        assert rows(clickhouse, table, "price, sold_count") == [(Decimal("10.5000"), 0)]
        types = clickhouse.query(f"select toTypeName(price), toTypeName(sold_count) from mirror.{table}").first_row
        assert types == ("Nullable(Decimal(18, 4))", "Nullable(Int64)")


def test_what_is_mirrored_now_is_not_forgotten(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(event("brands", "c", 100, after=row("brands", 1)))
    with pytest.raises(LockedError, match="a mirror runs: stop it first"):
        forget()
    assert rows(clickhouse, "brands", "id") == [(1,)]


@pytest.mark.parametrize("statements", [1, 2])
def test_a_table_that_was_half_made_when_a_mirror_was_killed_is_made_whole(clickhouse: Any, mirrored: Mirrored, statements: int) -> None:
    clickhouse.command("create database if not exists mirror")
    for statement in tables.create("takings", ["shop"], {"shop": "String"})[:statements]:
        clickhouse.command(statement)
    mirrored(*truncation("takings", 90))
    mirrored(event("takings", "c", 100, after={"shop": "north", "sum": 7}, key={"shop": "north"}))
    assert rows(clickhouse, "takings", "shop, sum") == [("north", 7)]
    mirrored(*truncation("takings", 110))
    assert rows(clickhouse, "takings", "shop") == []
    assert letters() == []


def test_a_column_that_another_mirror_has_just_added_to_the_history_is_added_as_it_is_there(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(event("brands", "c", 100, after=row("brands", 1)))
    clickhouse.command("alter table mirror.brands_history add column share Nullable(Int64), add column note Nullable(String)")
    mirrored(
        event("brands", "c", 101, after=row("brands", 2, share=2.5, note=7)), event("brands", "c", 102, after=row("brands", 3, share=4))
    )
    wanted = [(1, None, None), (2, 2.5, "7"), (3, 4.0, None)]
    assert rows(clickhouse, "brands", "id, share, note") == wanted
    assert clickhouse.query("select id, share, note from mirror.brands_history final order by id").result_rows == wanted
    assert letters() == []


def test_a_snapshot_of_which_records_expired_unread_is_not_taken_for_complete(
    clickhouse: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trust, "LOOK", 0.2)
    monkeypatch.setattr(trust, "STANDSTILL", 3.0)
    send(
        [
            *truncation("brands", 500, snapshot="first"),
            *(event("brands", "r", 500, after=row("brands", n), snapshot="true", partition=n % 2) for n in range(10)),
            event("brands", "r", 500, after=row("brands", 10), snapshot="last", partition=0),
        ]
    )
    here = topics.topic_of("brands"), 1
    admin = administrator()
    for done in admin.delete_records([TopicPartition(*here, 6)]).values():
        done.result(20)
    noted = "select count(), countIf(completed_at is not null), countIf(txid = 0) from mirror._snapshots final"
    said = "6 records were gone from the broker before the mirror read them (rainbow.public.brands/1 offsets 0 to 5)"
    with caplog.at_level(logging.ERROR, "rainbow.mirror"), mirroring():
        # the mirror could take it for complete now
        wait_for(lambda: bool(clickhouse.command("exists table mirror._snapshots")))
        wait_for(lambda: rows(clickhouse, "brands", "id") == [(n,) for n in range(0, 11, 2)])
        wait_for(lambda: said in caplog.text)
        wait_for(lambda: clickhouse.query(noted).first_row == (1, 0, 1))
        send([event("brands", "c", 600, after=row("brands", 77), partition=1)])
        wait_until_read()
        wait_for(lambda: (77,) in rows(clickhouse, "brands", "id"))
    assert clickhouse.query(noted).first_row == (1, 0, 1)
    assert caplog.text.count("records were gone") == 1


def test_a_snapshot_is_noted_and_complete_once_all_of_it_is_here(clickhouse: Any, mirrored: Mirrored) -> None:
    noted = "select lsn, txid, completed_at is not null from mirror._snapshots final order by lsn"
    mirrored(
        *truncation("brands", 500, snapshot="first", txid=900), event("brands", "r", 500, after=row("brands", 1), snapshot="true", txid=900)
    )
    assert clickhouse.query(noted).result_rows == [(500, 900, 0)]
    mirrored(event("brands", "r", 500, after=row("brands", 2), snapshot="last", txid=900))
    wait_for(lambda: clickhouse.query(noted).result_rows == [(500, 900, 1)])
    assert rows(clickhouse, "brands", "id, _snapshot") == [(1, 1), (2, 1)]


def test_rows_that_a_new_snapshot_does_not_bring_are_gone(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(*(event("brands", "c", 100 + n, after=row("brands", n)) for n in range(10)))
    mirrored(
        *truncation("brands", 500, snapshot="first"),
        *(event("brands", "r", 500, after=row("brands", n), snapshot="true") for n in range(0, 10, 2)),
        event("brands", "c", 501, after=row("brands", 77)),
    )
    assert rows(clickhouse, "brands", "id") == [(0,), (2,), (4,), (6,), (8,), (77,)]
    wait_for(lambda: clickhouse.query("select count() from mirror._snapshots final where completed_at is not null").first_row == (1,))


def wait_for(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_value_of_20_mb_arrives_whole_and_is_a_dead_letter_without_it(clickhouse: Any, mirrored: Mirrored) -> None:
    large = "0123456789" * 2_000_000
    mirrored(event("brands", "c", 100, after=row("brands", 1, name=large)))
    assert clickhouse.query("select length(name) from mirror.brands final").first_row == (20_000_000,)
    mirrored(event("products", "c", 101, after=row("products", 1, name='"' * 15_000_000, price="NaN")))
    (letter,) = letters()
    assert letter["value"] is None
    assert letter["reason"].startswith("column price: ")


def test_a_snapshot_of_tables_that_nobody_declared_is_nothing_to_the_views(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(*truncation("reviews", 500, snapshot="first"), event("reviews", "r", 500, after={"id": 1}, snapshot="last"))
    assert rows(clickhouse, "reviews", "id, _snapshot") == [(1, 1)]
    assert clickhouse.query("select count() from mirror._snapshots").first_row == (0,)


def test_a_numeric_without_scale_an_infinite_instant_and_text_for_a_date_stop_nothing(clickhouse: Any, mirrored: Mirrored) -> None:
    first = {"id": 1, "sum": "1.5", "at": "2024-09-01T00:00:00Z", "day": 19_000}
    others = [{"sum": "12345678901234567890.123456789"}, {"sum": "NaN"}, {"at": "infinity"}, {"day": "2024-09-01T00:00:00Z"}]
    mirrored(event("sums", "c", 100, after=first))
    mirrored(*(event("sums", "c", 101 + n, after={**first, "id": n, **other}) for n, other in enumerate(others, start=2)))
    assert rows(clickhouse, "sums", "id, sum, at, day") == [
        (1, "1.5", "2024-09-01T00:00:00Z", "19000"),
        (2, "12345678901234567890.123456789", "2024-09-01T00:00:00Z", "19000"),
        (3, "NaN", "2024-09-01T00:00:00Z", "19000"),
        (4, "1.5", "infinity", "19000"),
        (5, "1.5", "2024-09-01T00:00:00Z", "2024-09-01T00:00:00Z"),
    ]
    assert letters() == []


def test_the_history_has_each_truncate_of_a_row_though_partitions_are_read_at_their_own_pace(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(event("brands", "c", 100, after=row("brands", 1), partition=1))
    mirrored(event("brands", "t", 200, partition=0), event("brands", "t", 300, partition=0))
    mirrored(
        event("brands", "t", 200, partition=1),
        event("brands", "c", 250, after=row("brands", 1), partition=1),
        event("brands", "t", 300, partition=1),
    )
    assert rows(clickhouse, "brands") == []
    history = clickhouse.query("select _lsn, _deleted from mirror.brands_history final order by _lsn").result_rows
    assert history == [(100, 0), (200, 1), (250, 0), (300, 1)]


def test_a_column_that_the_views_look_rows_up_by_may_become_null_too(clickhouse: Any, mirrored: Mirrored) -> None:
    mirrored(event("orders", "c", 100, after=row("orders", 1)), event("products", "c", 101, after=row("products", 1)))
    less = row("orders", 2)
    del less["customer_id"], less["created_at"]
    mirrored(event("orders", "c", 102, after=less), event("products", "c", 103, after=row("products", 2, seller_id=None)))
    assert rows(clickhouse, "orders", "id, customer_id, isNull(created_at)") == [(1, 1, 0), (2, None, 1)]
    assert rows(clickhouse, "products", "id, seller_id") == [(1, 1), (2, None)]
