"""Capture: whatever is committed is in the topics, in order by key, exactly as PostgreSQL prints it; whatever is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from rainbow.errors import ServiceError
from rainbow.settings import Settings, settings
from rainbow.source.schema import create_schema
from rainbow.stack import down, postgres, up
from rainbow.stack.place import place_of
from rainbow.stack.process import running
from streaming import clients, topics
from streaming.capture import snapshot, wire
from streaming.capture.outbox import Outbox
from streaming.capture.session import Session
from streaming.capture.state import State, StoppedError
from streaming.progress import wait_until_caught_up
from tests.conftest import _folder as a_folder
from tests.conftest import _settings_of as settings_of
from tests.integration import capturing as c
from tests.integration.capturing import COMMAND, Capture, capturing, records, rows, rows_of, wait_until_confirmed
from tests.integration.change_events import event, row, send, tombstone

pytestmark = pytest.mark.services

Connection = psycopg.Connection[Any]
BRANDS = "rainbow.public.brands"
BIG = "ộ" * 1000


@pytest.fixture
def shop(stream_stack: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A connection that commits each statement, to a database with the schema and no rows, which the settings name; Kafka has no topics."""
    admin = clients.administrator()
    if there := [name for name in admin.list_topics(timeout=10).topics if name.startswith("rainbow.")]:
        for gone in admin.delete_topics(there, operation_timeout=10).values():
            gone.result(10)
        while any(name.startswith("rainbow.") for name in admin.list_topics(timeout=10).topics):
            time.sleep(0.05)
    with database(stream_stack.url_of("postgres")) as url:
        monkeypatch.setenv("RAINBOW_POSTGRES_URL", url)
        settings.cache_clear()
        with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
            create_schema(connection)
            yield connection
        monkeypatch.undo()
        settings.cache_clear()


@contextmanager
def database(server: str) -> Iterator[str]:
    """The URL of an empty database; it is dropped at the end with its slots, even if the server was killed meanwhile."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database {name} template template0".encode())
    try:
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute("select pg_terminate_backend(active_pid) from pg_replication_slots where active and database = %s", [name])
            while admin.execute("select from pg_replication_slots where active and database = %s", [name]).rowcount:
                time.sleep(0.02)
            admin.execute("select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = %s", [name])
            admin.execute(f"drop database {name} with (force)".encode())


def new(shop: Connection, *names: str, first: int | None = None) -> None:
    """Insert brands."""
    for number, name in enumerate(names):
        if first is None:
            shop.execute("insert into brands (name, created_at, updated_at) values (%s, now(), now())", [name])
        else:
            shop.execute("insert into brands (id, name, created_at, updated_at) values (%s, %s, now(), now())", [first + number, name])


def streamed(topic: str = BRANDS) -> list[c.Record]:
    """The records of changes, without those of snapshots."""
    return [record for record in records(topic) if not (record.value and record.value["source"]["snapshot"] != "false")]


def test_a_snapshot_brings_the_rows_that_are_there_and_the_stream_those_that_come(shop: Connection) -> None:
    new(shop, "Oak", 'Tủ "gỗ"\t\\N\n')
    with capturing():
        new(shop, "Ash")
        shop.execute("update brands set name = name || '!' where id = 1")
        shop.execute("delete from brands where id = 2")
        wait_until_confirmed(shop)
    assert rows(records(BRANDS)) == rows_of(shop, "brands")
    assert sorted(record.op or "" for record in streamed()) == ["", "c", "d", "u"]


def test_a_snapshot_empties_each_partition_first_and_marks_its_rows(shop: Connection) -> None:
    new(shop, "Oak", "Ash", "Elm")
    with capturing():
        pass
    found = records(BRANDS)
    assert [record.op for record in found if record.offset == 0] == ["t"] * topics.PARTITIONS
    assert len({record.lsn for record in found}) == 1
    assert {record.value["source"]["snapshot"] for record in found if record.op == "t"} == {"first"}
    marks = {record.value["after"]["id"]: record.value["source"]["snapshot"] for record in found if record.op == "r"}
    assert marks == {1: "first_in_data_collection", 2: "true", 3: "last"}


def test_the_last_truncation_of_an_empty_shop_s_snapshot_is_its_last_event(shop: Connection) -> None:
    with capturing():
        pass
    marks = [record.value["source"]["snapshot"] for name in c.names() for record in records(name)]
    assert marks.count("last") == 1
    assert set(marks) == {"first", "last"}


def test_a_clean_stop_leaves_nothing_to_be_sent_again(shop: Connection) -> None:
    with capturing():
        new(shop, *"abc")
    with capturing() as second:
        new(shop, "d")
        wait_until_confirmed(shop)
        assert "snapshot" not in second.log
    assert [record.op for record in sorted(streamed(), key=lambda r: r.lsn)] == ["c"] * 4


def test_what_is_committed_while_nothing_runs_comes_later(shop: Connection) -> None:
    new(shop, "Oak", "Ash")
    with capturing():
        pass
    shop.execute("delete from brands where id = 1")
    new(shop, "Elm")
    with capturing():
        wait_until_confirmed(shop)
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_a_delete_after_a_kill_before_the_first_confirmation_is_not_lost(shop: Connection) -> None:
    new(shop, *map(str, range(2000)))
    first = Capture()
    first.until("snapshot of").stop(signal.SIGKILL)
    first.close()
    shop.execute("delete from brands where id % 2 = 0")
    with capturing():
        shop.execute("delete from brands where id % 3 = 0")
        wait_until_confirmed(shop)
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


@pytest.mark.parametrize("identity", ["full", "default"])
def test_an_unchanged_toasted_value_is_filled_in_or_marked(shop: Connection, identity: str) -> None:
    shop.execute("alter table brands alter name set storage external")
    shop.execute(f"alter table brands replica identity {identity}".encode())
    new(shop, BIG)
    with capturing():
        shop.execute("update brands set updated_at = '2024-09-01'")
        wait_until_confirmed(shop)
    (update,) = streamed()
    full = identity == "full"
    assert update.value["after"]["name"] == (BIG if full else "__debezium_unavailable_value")
    assert update.value["after"]["updated_at"] == "2024-09-01T00:00:00Z"
    assert (update.value["before"] or {}).get("name") == (BIG if full else None)


@pytest.mark.parametrize("identity", ["full", "default"])
def test_a_delete_shows_the_row_or_its_key_and_a_tombstone_follows(shop: Connection, identity: str) -> None:
    shop.execute(f"alter table brands replica identity {identity}".encode())
    new(shop, "Oak")
    before = rows_of(shop, "brands")[0]
    with capturing():
        shop.execute("delete from brands")
        wait_until_confirmed(shop)
    delete, tombstone = streamed()
    assert delete.value["before"] == (before if identity == "full" else {"id": 1})
    assert (delete.op, delete.value["after"]) == ("d", None)
    assert (tombstone.key, tombstone.value) == ({"id": 1}, None)


@pytest.mark.parametrize("identity", ["full", "default"])
def test_a_changed_key_is_a_delete_and_a_create(shop: Connection, identity: str) -> None:
    shop.execute(f"alter table brands replica identity {identity}".encode())
    new(shop, "Oak")
    with capturing():
        shop.execute("update brands set id = 9")
        wait_until_confirmed(shop)
    found = streamed()
    assert {(record.op, record.key["id"]) for record in found} == {("d", 1), (None, 1), ("c", 9)}
    delete, create = (next(record for record in found if record.op == op) for op in "dc")
    assert delete.lsn == create.lsn
    assert delete.headers == {"__debezium.newkey": b'{"id":9}'}
    assert create.headers == {"__debezium.oldkey": b'{"id":1}'}
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_a_table_without_replica_identity_is_passed_on_with_a_warning(shop: Connection) -> None:
    shop.execute("create publication rainbow for table brands")
    shop.execute("alter table brands replica identity nothing")
    with capturing() as capture:
        new(shop, "Oak")
        wait_until_confirmed(shop)
        assert "public.brands has no replica identity" in capture.log
    assert [(record.key, record.op) for record in streamed()] == [({"id": 1}, "c")]


VALUES = "create table readings (id int primary key, value numeric, at timestamptz, day date, live boolean, rate float8, tags text[])"


def test_a_value_that_no_number_holds_is_passed_on_as_it_is(shop: Connection) -> None:
    shop.execute(VALUES.encode())
    shop.execute("create publication rainbow for table readings")
    shop.execute("insert into readings values (1, '1e-30', '0044-03-15 12:00:00+00 BC', '1970-01-02', true, 0.1, array['a', 'b'])")
    with capturing():
        shop.execute("insert into readings values (2, 'NaN', 'infinity', 'infinity', false, 'NaN', null)")
        shop.execute("update readings set value = '-Infinity', at = '-infinity', day = null, rate = '1e300' where id = 1")
        new(shop, "Oak")
        wait_until_confirmed(shop)
    found = {(record.value["after"]["id"], record.op): record.value["after"] for record in records("rainbow.public.readings") if record.key}
    assert found == {
        (1, "r"): {
            "id": 1, "value": "0.000000000000000000000000000001", "at": "-0043-03-15T12:00:00Z", "day": 1, "live": True, "rate": 0.1, "tags": "{a,b}",
        },
        (2, "c"): {"id": 2, "value": "NaN", "at": "infinity", "day": 2147483647, "live": False, "rate": "NaN", "tags": None},
        (1, "u"): {"id": 1, "value": "-Infinity", "at": "-infinity", "day": None, "live": True, "rate": 1e300, "tags": "{a,b}"},
    }  # fmt: skip
    assert [record.value["after"]["name"] for record in streamed()] == ["Oak"]


def test_a_new_a_renamed_and_a_dropped_column_show_from_then_on(shop: Connection) -> None:
    with capturing():
        new(shop, "Oak")
        shop.execute("alter table brands add column motto text default 'solid'")
        new(shop, "Ash")
        shop.execute("alter table brands rename column motto to claim")
        new(shop, "Elm")
        shop.execute("alter table brands drop column claim")
        new(shop, "Fir")
        wait_until_confirmed(shop)
    found = [record.value["after"] for record in sorted(streamed(), key=lambda record: record.lsn)]
    assert [set(row) - {"id", "name", "created_at", "updated_at"} for row in found] == [set(), {"motto"}, {"claim"}, set()]
    assert (found[1]["motto"], found[2]["claim"]) == ("solid", "solid")


def test_a_truncate_is_told_to_each_partition(shop: Connection) -> None:
    with capturing():
        new(shop, *"abc")
        shop.execute("truncate brands cascade")
        new(shop, "d")
        wait_until_confirmed(shop)
    emptied = [record for record in streamed() if record.op == "t"]
    assert [(record.partition, record.key) for record in emptied] == [(0, None), (1, None), (2, None)]
    assert rows(records(BRANDS)) == rows_of(shop, "brands")
    assert [record.op for record in streamed("rainbow.public.products")] == ["t"] * 3


def test_what_is_rolled_back_does_not_come_and_open_transactions_come_whole(shop: Connection) -> None:
    with capturing(), psycopg.connect(c.url()) as one, psycopg.connect(c.url()) as two:
        new(one, "a1")
        new(two, "b1")
        new(one, "a2")
        with two.transaction():
            new(two, "b2")
            raise psycopg.Rollback
        new(two, "b3")
        two.commit()
        new(one, "gone")
        one.rollback()
        new(one, "a3")
        one.commit()
        wait_until_confirmed(shop)
    found = [(record.value["after"]["name"], record.value["source"]["txId"]) for record in sorted(streamed(), key=lambda r: r.lsn)]
    assert [name for name, _ in found] == ["b1", "b3", "a3"]
    assert found[0][1] == found[1][1] != found[2][1]


def test_many_changes_of_a_row_in_a_transaction_come_in_order(shop: Connection) -> None:
    new(shop, "0")
    with capturing():
        with shop.transaction():
            for number in range(1, 50):
                shop.execute("update brands set name = %s", [str(number)])
            shop.execute("delete from brands")
            new(shop, "again", first=1)
        wait_until_confirmed(shop)
    found = [record for record in streamed() if record.value]
    assert [(record.value["after"] or {}).get("name") for record in found] == [*map(str, range(1, 50)), None, "again"]
    positions = [record.lsn for record in found]
    assert positions == sorted(set(positions))


def test_rows_of_one_copy_all_come(shop: Connection) -> None:
    with capturing():
        with shop.cursor().copy("copy brands (id, name, created_at, updated_at) from stdin") as copy:
            for number in range(1, 501):
                copy.write_row((number, f"n{number}", "2024-09-01", "2024-09-01"))
        wait_until_confirmed(shop)
    assert len(streamed()) == 500
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_a_transaction_that_is_open_while_the_slot_is_made_wins_over_the_snapshot(shop: Connection) -> None:
    """It has changes before the snapshot's point and is committed after it; so they must not look older than the snapshot's rows."""
    new(shop, *map(str, range(1, 9)))
    ended = threading.Event()

    def write(number: int) -> None:
        with psycopg.connect(c.url()) as writer:
            while not ended.is_set():
                for _ in range(3):
                    writer.execute("update brands set name = name || '.' where id = %s", [number])
                    time.sleep(0.01)
                writer.commit()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    try:
        with capturing():
            ended.set()
            for thread in threads:
                thread.join()
            wait_until_confirmed(shop)
    finally:
        ended.set()
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_a_table_that_joins_the_publication_comes_with_the_rows_it_had(shop: Connection) -> None:
    with capturing() as capture:
        shop.execute("create table reviews (product bigint, author text, stars int, primary key (product, author))")
        shop.execute("insert into reviews values (1, 'An', 5), (2, 'Bình', 4)")
        shop.execute("alter publication rainbow add table reviews")
        shop.execute("insert into reviews values (3, 'Chi', 1)")
        capture.until("snapshot of public.reviews")
        capture.until("snapshot complete: 3 rows")
        shop.execute("update reviews set stars = 2 where product = 1")
        new(shop, "Oak")
        wait_until_confirmed(shop)
    found = records("rainbow.public.reviews")
    assert rows(found) == rows_of(shop, "reviews", "product")
    assert {tuple(record.key) for record in found if record.key} == {("product", "author")}


def test_a_table_that_was_dropped_and_made_again_is_read_anew(shop: Connection) -> None:
    new(shop, "Oak", "Ash")
    with capturing():
        pass
    shop.execute("drop table brands cascade")
    with shop.transaction():
        create_schema(shop)
    new(shop, "Elm")
    with capturing() as second:
        assert "snapshot of public.brands" in second.log
        wait_until_confirmed(shop)
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_the_slot_moves_while_the_shop_is_quiet(shop: Connection) -> None:
    shop.execute("create table elsewhere (id bigint)")
    with capturing():
        shop.execute("insert into elsewhere select generate_series(1, 10000)")
        wait_until_confirmed(shop, seconds=10)
    assert streamed() == []


def refused() -> str:
    """The last line of a capture that will not do."""
    process = subprocess.run(COMMAND, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 1, process.stderr
    return process.stderr.strip().splitlines()[-1]


def test_a_second_capture_is_refused_in_one_line_also_while_the_first_takes_its_snapshot(shop: Connection) -> None:
    new(shop, "Oak")
    with psycopg.connect(c.url()) as other:
        new(other, "Ash")
        first = Capture()
        try:
            first.until("waits for transactions that are open")
            assert refused().startswith("rainbow: another capture follows this database")
            other.commit()
            first.until("  streaming")
            assert refused().startswith("rainbow: another capture follows this database")
            wait_until_confirmed(shop)
            assert first.stop() == 0
        finally:
            first.close()
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def cut_short() -> None:
    """A capture that ends in the middle of a snapshot."""

    def send(taken: snapshot.Snapshot, *_: Any) -> None:
        raise StoppedError

    outbox = Outbox(print)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(snapshot.Snapshot, "send", send)
            with pytest.raises(StoppedError):
                Session(c.url(), outbox, State(), print, print, (3, 3)).follow()
    finally:
        outbox.close()


def test_a_new_snapshot_that_was_cut_short_is_taken_again(shop: Connection) -> None:
    new(shop, "Oak", "Ash")
    with capturing():
        pass
    shop.execute("select pg_drop_replication_slot('rainbow')")
    shop.execute("delete from brands where id = 1")
    cut_short()
    assert shop.execute("select from pg_replication_slots where slot_name = 'rainbow'").rowcount == 1
    with capturing() as third:
        assert "snapshot of" in third.log
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_a_table_that_left_the_publication_and_came_back_is_read_anew_also_after_a_snapshot_that_was_cut_short(shop: Connection) -> None:
    new(shop, "Oak", "Ash")
    with capturing():
        pass
    shop.execute("alter publication rainbow drop table brands")
    shop.execute("delete from brands where id = 1")
    cut_short()
    assert shop.execute("select from pg_publication_tables where tablename = 'brands'").rowcount == 1
    with capturing() as third:
        assert "snapshot of public.brands" in third.log
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_a_table_whose_topic_is_gone_is_read_anew(shop: Connection) -> None:
    new(shop, "Oak", "Ash")
    with capturing():
        pass
    admin = clients.administrator()
    for gone in admin.delete_topics([BRANDS], operation_timeout=10).values():
        gone.result(10)
    with capturing() as second:
        assert "snapshot of public.brands:" in second.log
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_a_table_that_leaves_the_publication_while_it_streams_is_read_anew(shop: Connection) -> None:
    new(shop, "Oak", "Ash")
    with capturing() as capture:
        shop.execute("alter publication rainbow drop table brands")
        shop.execute("delete from brands where id = 1")
        shop.execute("alter publication rainbow add table brands")
        capture.until("snapshot of public.brands")
        capture.until("snapshot complete: 1 rows")
        wait_until_confirmed(shop)
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_a_table_that_is_made_again_while_it_streams_is_published_again(shop: Connection) -> None:
    new(shop, "Oak", "Ash")
    with capturing() as capture:
        shop.execute("drop table brands cascade")
        with shop.transaction():
            create_schema(shop)
        new(shop, "Elm")
        capture.until("snapshot of public.brands")
        new(shop, "Yew")
        wait_until_confirmed(shop)
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


@pytest.mark.parametrize("has_slot", [False, True])
def test_a_server_whose_log_ends_before_what_was_sent_is_refused_until_that_is_forgotten(shop: Connection, has_slot: bool) -> None:
    new(shop, "Oak")
    if has_slot:
        with capturing():
            wait_until_confirmed(shop)
    later = wire.lsn("FFFF/0")
    send([event("brands", "c", later, after=row("brands", 1)), *(tombstone("brands", {"id": 1}) for _ in range(3))])
    assert re.search(
        r"PostgreSQL's log is at \S+, the topics tell of changes up to FFFF/0: it is another server, or was restored", refused()
    )
    forgotten = subprocess.run((*COMMAND[:-1], "forget", "--yes"), capture_output=True, text=True, timeout=60, check=False)
    assert forgotten.returncode == 0, forgotten.stderr
    with capturing():
        pass
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_what_is_captured_now_is_not_forgotten(shop: Connection) -> None:
    with capturing():
        tried = subprocess.run((*COMMAND[:-1], "forget", "--yes"), capture_output=True, text=True, timeout=60, check=False)
        assert tried.returncode == 1
        assert tried.stderr.strip().startswith("rainbow: another capture follows this database")


def test_a_role_that_does_not_see_all_rows_is_told_so(shop: Connection) -> None:
    new(shop, "Oak")
    shop.execute("alter table brands enable row level security; create publication rainbow for table brands")
    shop.execute("create role half login replication password 'x'; grant select on all tables in schema public to half")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAINBOW_POSTGRES_URL", f"postgresql://half:x@{c.url().split('@')[1]}")
            assert "the role half does not see all rows of what is published" in refused()
    finally:
        shop.execute("drop owned by half; drop role half")


def test_a_long_key_that_is_stored_apart_stays_the_row_s_key(shop: Connection) -> None:
    shop.execute("create table pages (url text primary key, seen bigint, body text)")
    shop.execute("alter table pages alter url set storage external, alter body set storage external")
    address = "https://rainbow.example/" + "".join(f"{n:x}" for n in range(900))
    shop.execute("insert into pages values (%s, 1, %s)", [address, BIG])
    with capturing() as capture:
        shop.execute("alter publication rainbow add table pages")
        shop.execute("update pages set seen = 2")
        capture.until("snapshot of public.pages")
        shop.execute("update pages set seen = 3")
        shop.execute("update pages set seen = 4")
        wait_until_confirmed(shop)
    found = records("rainbow.public.pages")
    assert {record.key["url"] for record in found if record.key} == {address}
    assert [record.op for record in found if record.op not in ("t", "r")][-2:] == ["u", "u"]


def test_what_a_user_has_to_put_right_is_said_in_one_line(shop: Connection) -> None:
    url = c.url().split("@")[1]
    with psycopg.connect(c.url(), autocommit=True) as admin:
        admin.execute(
            "create role reader login password 'x'; grant usage on schema public to reader; create publication rainbow for all tables"
        )
        try:
            refused = subprocess.run(
                COMMAND,
                env={**os.environ, "RAINBOW_POSTGRES_URL": f"postgresql://reader:x@{url}"},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        finally:
            admin.execute("drop owned by reader; drop role reader")
    assert refused.returncode == 1
    assert "the role reader may not replicate" in refused.stderr.strip().splitlines()[-1]
    assert "alter role reader replication" in refused.stderr


def test_a_server_that_does_not_write_what_is_needed_is_said_in_one_line(stream_stack: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgres.CONFIGURATION, "wal_level", "replica")
    with a_folder() as home, settings_of(home, kafka_servers=stream_stack.url_of("kafka")):
        try:
            up(["postgres"])
            refused = subprocess.run(COMMAND, capture_output=True, text=True, timeout=30, check=False)
        finally:
            down()
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines()[-1].startswith("rainbow: capture needs wal_level = logical, PostgreSQL has replica")


def test_a_server_without_a_free_slot_is_said_in_one_line(shop: Connection) -> None:
    taken: list[str] = []
    try:
        with suppress(psycopg.errors.ConfigurationLimitExceeded):
            while True:
                name = f"taken_{len(taken)}"
                shop.execute("select pg_create_physical_replication_slot(%s)", [name])
                taken.append(name)
        refused = subprocess.run(COMMAND, capture_output=True, text=True, timeout=30, check=False)
    finally:
        for name in taken:
            shop.execute("select pg_drop_replication_slot(%s)", [name])
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines()[-1].startswith("rainbow: PostgreSQL has no slot left")
    assert "raise max_replication_slots" in refused.stderr


def test_a_stop_while_the_slot_waits_for_open_transactions_leaves_no_slot(shop: Connection) -> None:
    with psycopg.connect(c.url()) as other:
        new(other, "Oak")
        capture = Capture()
        try:
            capture.until("waits for transactions that are open")
            assert capture.stop() == 0
        finally:
            capture.close()
        assert shop.execute("select from pg_replication_slots where slot_name = 'rainbow'").rowcount == 0


def test_a_new_snapshot_is_taken_when_the_slot_is_gone(shop: Connection) -> None:
    new(shop, "Oak", "Ash")
    with capturing():
        pass
    shop.execute("select pg_drop_replication_slot('rainbow')")
    shop.execute("delete from brands where id = 1")
    with capturing() as second:
        assert "the slot is gone" in second.log
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_a_new_snapshot_is_taken_when_the_publication_is_dropped_while_it_streams(shop: Connection) -> None:
    new(shop, "Oak")
    with capturing() as capture:
        shop.execute("drop publication rainbow")
        new(shop, "Ash")
        capture.until("the publication was made anew")
        capture.until("snapshot complete: 2 rows")
        new(shop, "Elm")
        wait_until_confirmed(shop)
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_an_event_that_no_topic_takes_is_a_dead_letter_and_the_rest_goes_on(shop: Connection) -> None:
    with capturing() as capture:
        shop.execute("insert into brands (name, created_at, updated_at) values (repeat('x', 34000000), now(), now())")
        new(shop, "Oak")
        wait_until_confirmed(shop)
        assert "it goes to rainbow.dead-letters" in capture.log
    (letter,) = records(topics.DEAD_LETTERS)
    assert letter.value["table"] == "brands"
    assert letter.value["key"] == '{"id":1}'
    assert [record.key for record in streamed()] == [{"id": 2}]


def test_a_large_row_comes_whole(shop: Connection) -> None:
    with capturing():
        shop.execute("insert into brands (name, created_at, updated_at) values (repeat('x', 5000000), now(), now())")
        wait_until_confirmed(shop)
    assert rows(records(BRANDS)) == rows_of(shop, "brands")


def test_a_slot_whose_snapshot_is_still_to_be_sent_is_not_caught_up(shop: Connection) -> None:
    new(shop, "Oak")
    shop.execute("select pg_create_logical_replication_slot('rainbow', 'pgoutput')")
    with pytest.raises(ServiceError, match="capture does not stream; is `rainbow stream capture` running"):
        wait_until_caught_up(0.1)


def test_metrics_tell_what_was_sent(shop: Connection) -> None:
    with capturing(RAINBOW_CAPTURE_METRICS_PORT="0") as capture:
        new(shop, *"abc")
        wait_until_confirmed(shop)
        time.sleep(0.7)
        address = capture.log.split("metrics on ")[1].split()[0]
        with urllib.request.urlopen(address, timeout=5) as answer:
            text = answer.read().decode()
    assert 'rainbow_capture_events_total{table="public.brands"} 3.0' in text
    assert "rainbow_capture_streaming 1.0" in text


class Writer:
    """Writes without a pause, and goes on when PostgreSQL is back; ``stop`` ends it."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._ended.is_set():
            try:
                with psycopg.connect(c.url(), autocommit=True) as writer:
                    while not self._ended.is_set():
                        number += 1
                        with writer.transaction():
                            writer.execute("insert into brands (name, created_at, updated_at) values (%s, now(), now())", [str(number)])
                            writer.execute("update brands set name = name || '.' where id %% 7 = %s and id > %s", [number % 7, number - 50])
                            writer.execute("delete from brands where id = %s", [number // 2])
            except psycopg.Error:
                time.sleep(0.1)

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()


def kill(service: str) -> None:
    """Kill a service of the stack, all of its members."""
    from rainbow.stack.control import SERVICES

    for place in SERVICES[service].members(place_of(settings().home, service)):
        if process := running(place):
            process.kill()
            process.wait(10)


def start(service: str) -> None:
    """Start it again; the test's own database is on the stack's server all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAINBOW_POSTGRES_URL")
        up([service])
    settings.cache_clear()


@pytest.mark.parametrize("victim", ["capture", "postgres", "kafka"])
def test_nothing_is_lost_and_the_order_is_kept_when_it_is_killed(shop: Connection, sized: Callable[[int, int], int], victim: str) -> None:
    writer, capture = Writer(), Capture()
    try:
        capture.until("  streaming")
        for _ in range(sized(2, 20)):
            time.sleep(0.5)
            if victim == "capture":
                capture.stop(signal.SIGKILL)
                capture.close()
                capture = Capture().until("  streaming")
            else:
                kill(victim)
                time.sleep(0.5)
                start(victim)
        time.sleep(0.5)
    finally:
        writer.stop()
    try:
        with psycopg.connect(c.url(), autocommit=True, options="-c timezone=UTC") as again:
            wait_until_confirmed(again)
            found = records(BRANDS)
            assert rows(found) == rows_of(again, "brands")
        assert "Traceback" not in capture.log
    finally:
        capture.close()
    for versions in c.by_key(found).values():
        seen: set[int] = set()
        newest = 0
        for record in versions:
            if record.value:
                # what comes again has come before, so a reader that keeps the newest is never led back
                assert record.lsn >= newest or record.lsn in seen
                newest = max(newest, record.lsn)
                seen.add(record.lsn)
