"""The lake: append-only, one snapshot for all tables, and nothing that a day's `updated_at` would lose is lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rainbow.errors import DataError, ServiceError
from rainbow.lake import manifest as manifests
from rainbow.lake.extract import extract
from rainbow.lake.files import Lake
from rainbow.partitions.dates import today
from rainbow.settings import settings
from rainbow.source.connection import connect
from rainbow.source.schema import set_clock
from rainbow.source.tables import BY_NAME, TABLES
from tests.integration.small_shop import (
    BEFORE,
    DAY_1,
    DAY_2,
    DAY_3,
    DAY_4,
    at,
    days,
    delete,
    in_lake,
    open_shop,
    parquet_files,
    put,
    sell,
)

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.services


def seen(lake: Lake, table: str, *columns: str) -> list[tuple[Any, ...]]:
    """These columns of every row of the lake, in the order in which they were seen."""
    return [tuple(row[column] for column in columns) for row in in_lake(lake, table)]


def test_a_manifest_names_rows_bytes_and_checksums_that_are_the_files_own(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1), lines=[1, 2])
    made = extract(days(DAY_1))
    assert {file.table: file.rows for file in made.files} == {t.name: 1 for t in TABLES} | {"orderdetails": 2}
    for file in made.files:
        assert parquet_files(lake)["/" + file.path][0] == file.sha256 == Path(file.path).stem
        assert lake.fs.info(lake.full(file.path))["size"] == file.bytes
        assert lake.read_table(file.path).num_rows == file.rows
        assert file.path.startswith(f"{file.table}/partition_date={DAY_1}/")
    assert manifests.read(lake, made.name) == made
    assert manifests.newest(lake) == made
    (visible,) = small_shop.execute(
        "select pg_visible_in_snapshot(xmin::text::xid8, %s::pg_snapshot) from orders", [made.snapshot]
    ).fetchall()
    assert visible == (True,)


def test_an_unchanged_run_again_writes_no_file(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    delete(small_shop, "inventories", 1, at(DAY_1, 13))
    extract(days(DAY_1))
    before = parquet_files(lake)
    again = extract(days(DAY_1))
    assert again.files == ()
    assert parquet_files(lake) == before


def test_a_changed_run_adds_a_file_with_what_is_new_and_touches_none(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    sell(small_shop, 2, at(DAY_1))
    extract(days(DAY_1))
    before = parquet_files(lake)
    put(small_shop, "orderdetails", 2, at(DAY_1, 13), quantity=3)
    again = extract(days(DAY_1))
    assert [(file.table, file.rows) for file in again.files] == [("orderdetails", 1)]
    after = parquet_files(lake)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 1
    assert seen(lake, "orderdetails", "id", "quantity") == [(1, 2), (2, 2), (2, 3)]


def test_two_versions_with_an_extract_between_them_are_both_kept(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    for hour, price in ((1, "1.00"), (2, "2.00"), (3, "1.00")):
        put(small_shop, "products", 1, at(DAY_1, hour), price=price)
        extract(days(DAY_1))
    put(small_shop, "products", 1, at(DAY_2), price="4.00")
    extract(days(DAY_2))
    assert [row["price"] for row in in_lake(lake, "products")] == [Decimal(p) for p in ("1.0000", "2.0000", "1.0000", "4.0000")]
    assert [row["partition_date"] for row in in_lake(lake, "products")] == [DAY_1, DAY_1, DAY_1, DAY_2]


def test_no_line_is_seen_without_its_order_while_a_writer_commits_to_both(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    stop = threading.Event()

    def write() -> None:
        with connect(autocommit=True) as connection:
            number = 0
            while not stop.is_set():
                number += 1
                sell(connection, number, datetime.now(UTC), lines=[number * 10 + n for n in range(3)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(4):
            made = extract(days(today()))
            orders = {row["id"] for row in in_lake(lake, "orders")}
            lines: dict[int, set[int]] = {}
            for row in in_lake(lake, "orderdetails"):
                lines.setdefault(row["order_id"], set()).add(row["id"])
            assert lines.keys() == orders
            assert all(len(keys) == 3 for keys in lines.values())
            assert made.partial
    finally:
        stop.set()
        writer.join()
    assert len(orders) > 4


def test_a_delete_is_a_row_marked_deleted_on_its_own_day(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    extract(days(DAY_1))
    delete(small_shop, "orderdetails", 1, at(DAY_2, 7))
    extract(days(DAY_2))
    live, gone = in_lake(lake, "orderdetails")
    assert (live["_deleted"], live["quantity"]) == (False, 2)
    assert (gone["id"], gone["_deleted"], gone["updated_at"], gone["partition_date"]) == (1, True, at(DAY_2, 7), DAY_2)
    assert gone["order_id"] is gone["quantity"] is gone["created_at"] is None


@pytest.mark.parametrize("savepoint", [False, True], ids=["in the transaction", "in a savepoint"])
def test_a_transaction_open_across_midnight_is_taken_by_the_next_run_into_its_own_day(
    small_shop: Connection, lake: Lake, savepoint: bool
) -> None:
    open_shop(small_shop)
    with connect() as late:
        late.execute("select pg_current_xact_id()")
        if savepoint:
            late.execute("savepoint one")
        put(late, "orders", 7, at(DAY_1, 23.9))
        put(late, "orderdetails", 7, at(DAY_1, 23.9), order_id=7)
        sell(small_shop, 8, at(DAY_1, 23.8))
        extract(days(DAY_1))
        assert seen(lake, "orders", "id") == [(8,)]
        if savepoint:
            late.execute("release savepoint one")
        late.commit()
    extract(days(DAY_2))
    assert {row["id"] for row in in_lake(lake, "orders", DAY_1)} == {7, 8}
    assert [row["id"] for row in in_lake(lake, "orderdetails", DAY_1) if row["id"] == 7] == [7]


def test_a_delete_committed_after_midnight_is_taken_by_the_next_run(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    with connect() as late:
        late.execute("select pg_current_xact_id()")
        delete(late, "orderdetails", 1, at(DAY_1, 23.9))
        extract(days(DAY_1))
        assert seen(lake, "orderdetails", "id", "_deleted") == [(1, False)]
        late.commit()
    extract(days(DAY_2))
    assert [(r["id"], r["_deleted"]) for r in in_lake(lake, "orderdetails", DAY_1)] == [(1, False), (1, True)]


def test_a_backdated_correction_lands_in_the_day_it_names(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    extract(days(DAY_1))
    extract(days(DAY_2))
    put(small_shop, "orderdetails", 1, at(DAY_1, 12.5), amount="99.00")
    made = extract(days(DAY_3))
    assert [(file.table, file.partition_date, file.rows) for file in made.files] == [("orderdetails", DAY_1, 1)]
    assert [row["amount"] for row in in_lake(lake, "orderdetails", DAY_1)] == [Decimal("21.00"), Decimal("99.00")]


def test_what_lies_beyond_every_partition_run_so_far_waits_for_its_own_day(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    extract(days(DAY_1))
    sell(small_shop, 1, at(DAY_4))
    extract(days(DAY_2))
    assert in_lake(lake, "orders") == []
    extract(days(DAY_3, DAY_4))
    assert seen(lake, "orders", "id", "partition_date") == [(1, DAY_4)]


def test_the_first_partition_alone_takes_the_older_rows_of_the_dimensions(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(BEFORE.date()))
    sell(small_shop, 2, at(DAY_2))
    first = extract(days(DAY_2, DAY_3))
    assert first.baseline
    assert seen(lake, "products", "id", "partition_date", "updated_at") == [(1, DAY_2, BEFORE)]
    assert seen(lake, "orders", "id") == [(2,)]
    assert not extract(days(DAY_4)).baseline
    assert len(in_lake(lake, "products")) == 1


def test_rows_that_a_truncate_or_another_id_took_leave_the_lake(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    for number in (1, 2):
        sell(small_shop, number, at(DAY_1))
    extract(days(DAY_1))
    with small_shop.transaction():
        set_clock(small_shop, at(DAY_2))
        small_shop.execute("update orderdetails set id = 99, updated_at = %s where id = 1", [at(DAY_2)])
        small_shop.execute("truncate inventories")
    extract(days(DAY_2))
    found = [(r["id"], r["_deleted"]) for r in in_lake(lake, "orderdetails", DAY_2)]
    assert sorted(found) == [(1, True), (99, False)]
    assert [(r["id"], r["_deleted"]) for r in in_lake(lake, "inventories", DAY_2)] == [(1, True)]


def test_a_source_that_records_no_deletes_has_its_keys_compared(small_shop: Connection, lake: Lake) -> None:
    small_shop.execute("drop table deletions cascade")
    small_shop.execute("drop function record_deletion cascade")
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1), lines=[1, 2])
    extract(days(DAY_1))
    small_shop.execute("delete from orderdetails where id = 1")
    extract(days(DAY_2))
    gone = [row for row in in_lake(lake, "orderdetails") if row["_deleted"]]
    assert [(r["id"], r["partition_date"], r["updated_at"]) for r in gone] == [(1, DAY_2, at(DAY_3, 0) - timedelta(microseconds=1))]
    assert extract(days(DAY_3)).files == ()
    put(small_shop, "orderdetails", 1, at(DAY_4))
    extract(days(DAY_4))
    assert [r["_deleted"] for r in in_lake(lake, "orderdetails") if r["id"] == 1] == [False, True, False]


def test_a_delete_found_on_an_old_day_comes_after_all_that_is_known_of_the_row(small_shop: Connection, lake: Lake) -> None:
    small_shop.execute("drop table deletions cascade")
    small_shop.execute("drop function record_deletion cascade")
    open_shop(small_shop)
    put(small_shop, "customers", 2, at(DAY_1))
    extract(days(DAY_1, DAY_2))
    put(small_shop, "customers", 2, at(DAY_3), name="Mai")
    extract(days(DAY_3))
    small_shop.execute("delete from customers where id = 2")
    extract(days(DAY_1))
    gone = in_lake(lake, "customers")[-1]
    assert (gone["_deleted"], gone["partition_date"], gone["updated_at"].date()) == (True, DAY_3, DAY_3)


@pytest.mark.parametrize("again", [DAY_1, DAY_2, DAY_3], ids=["its own day again", "the day of the delete again", "the next day"])
def test_a_row_that_is_put_back_as_it_was_is_seen_anew(small_shop: Connection, lake: Lake, again: date) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    extract(days(DAY_1))
    delete(small_shop, "orderdetails", 1, at(DAY_2))
    extract(days(DAY_2))
    put(small_shop, "orderdetails", 1, at(DAY_1))
    extract(days(again))
    assert seen(lake, "orderdetails", "_deleted", "partition_date") == [(False, DAY_1), (True, DAY_2), (False, DAY_1)]
    assert extract(days(again)).files == ()


def test_a_row_whose_clock_went_back_is_seen_anew(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    extract(days(DAY_1))
    put(small_shop, "orderdetails", 1, at(DAY_2), quantity=9)
    extract(days(DAY_2))
    put(small_shop, "orderdetails", 1, at(DAY_1), quantity=2)
    extract(days(DAY_1))
    assert seen(lake, "orderdetails", "quantity") == [(2,), (9,), (2,)]


def test_a_correction_in_a_range_is_taken_though_an_older_day_was_run_last(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_3))
    extract(days(DAY_1, DAY_4))
    extract(days(DAY_1))
    put(small_shop, "orderdetails", 1, at(DAY_3, 13), quantity=9)
    extract(days(DAY_1))
    assert [row["quantity"] for row in in_lake(lake, "orderdetails", DAY_3)] == [2, 9]


def test_a_view_takes_the_place_of_a_table(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    small_shop.execute("alter table customers rename to people")
    columns = ", ".join(BY_NAME["customers"].column_names)
    small_shop.execute(f"create view customers as select {columns} from people")
    assert {file.table for file in extract(days(DAY_1)).files} >= {"customers", "products"}
    small_shop.execute("update people set name = 'Mai', updated_at = %s", [at(DAY_2)])
    extract(days(DAY_2))
    assert seen(lake, "customers", "name") == [("Hoa",), ("Mai",)]


HARD_TEXTS = (
    "",
    " ",
    "NULL",
    "\\N",
    "\\.",
    'a "quoted" name',
    "it's; -- not a comment",
    "comma, semicolon; tab\t",
    "two\nlines",
    "two\r\nlines",
    "Cà phê sữa đá",
    "Ca\u0300 phe\u0302 su\u031b\u0303a \u0111a\u0301",
    "<script>alert(1)</script>",
    "[red]{{ 7*7 }}[/red]",
    "Ω≈ç√ 🍵",
    "x" * 10_000,
)


def test_text_and_numbers_arrive_as_they_are(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    for number, text in enumerate(HARD_TEXTS, start=2):
        put(small_shop, "customers", number, at(DAY_1), name=text)
    exact = {"price": "12345678901234.5678", "original_price": None, "rating_average": "0.01", "review_count": None, "brand_id": None}
    put(small_shop, "products", 2, at(DAY_1, 0.123456), **exact, sold_count=9_223_372_036_854_775_807)
    extract(days(DAY_1))
    assert [row["name"] for row in in_lake(lake, "customers")][1:] == list(HARD_TEXTS)
    product = in_lake(lake, "products")[1]
    assert (product["price"], product["rating_average"]) == (Decimal("12345678901234.5678"), Decimal("0.01"))
    assert product["sold_count"] == 9_223_372_036_854_775_807
    assert product["original_price"] is product["review_count"] is product["brand_id"] is None
    assert product["updated_at"] == at(DAY_1, 0.123456)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("alter table orderdetails alter price type numeric; update orderdetails set price = 'NaN'", "orderdetails: column price"),
        ("alter table orderdetails alter amount type numeric; update orderdetails set amount = 'Infinity'", "orderdetails: column amount"),
        ("alter table orderdetails alter price type numeric; update orderdetails set price = 0.123456789", "orderdetails: column price"),
        ("alter table orderdetails alter price type numeric; update orderdetails set price = 1e20", "orderdetails: column price"),
        ("update orders set created_at = 'infinity'", "orders: column created_at"),
        ("update orders set updated_at = 'infinity'", "orders: column updated_at"),
        ("update customers set updated_at = '-infinity'", "customers: column updated_at"),
        ("alter table orders alter updated_at drop not null; update orders set updated_at = null", "orders: column updated_at"),
        ("alter table customers add column email text", "customers has an unknown column email"),
        ("alter table products drop column sold_count", "products has no column sold_count"),
        ("drop table inventories", "no table inventories"),
    ],
)
def test_what_the_declaration_cannot_hold_is_one_line_that_names_it_and_no_manifest(
    small_shop: Connection, lake: Lake, change: str, says: str
) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    for check in ("price", "amount"):
        small_shop.execute(f"alter table orderdetails drop constraint orderdetails_{check}_check")
    for statement in change.split("; "):
        small_shop.execute(statement)
    with pytest.raises(DataError) as error:
        extract(days(DAY_1))
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert manifests.names(lake) == []


_DIE = """
import os, signal, sys
from datetime import date
from rainbow.lake import extract, files, manifest
from rainbow.partitions.dates import PartitionRange

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "between files":
    put = files.Lake._put
    count = iter(range(100))
    files.Lake._put = lambda lake, spooled, path: die() if next(count) == 2 else put(lake, spooled, path)
elif sys.argv[1] == "before the manifest":
    manifest.commit = die
elif sys.argv[1] == "while a file is written":
    os.fsync = die
day = date.fromisoformat(sys.argv[2])
extract.extract(PartitionRange(day, day))
"""


def _in_a_process(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "RAINBOW_POSTGRES_URL": settings().url_of("postgres"),
        "RAINBOW_LAKE_URL": settings().lake,
        "RAINBOW_HOME": str(settings().home),
    }
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], env=environment, capture_output=True, text=True, check=False)


def run_and_die(moment: str, day: object) -> None:
    """An extract of a process of its own, which is killed at this moment."""
    done = _in_a_process(_DIE, moment, day)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("moment", ["while a file is written", "between files", "before the manifest"])
def test_an_extract_that_was_killed_and_run_again_is_as_if_undisturbed(small_shop: Connection, lake: Lake, moment: str) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    run_and_die(moment, DAY_1)
    assert manifests.names(lake) == []
    made = extract(days(DAY_1))
    assert {file.table: file.rows for file in made.files} == {t.name: 1 for t in TABLES}
    assert parquet_files(lake).keys() == {"/" + file.path for file in made.files}
    sell(small_shop, 2, at(DAY_2))
    run_and_die(moment, DAY_2)
    sell(small_shop, 3, at(DAY_2))
    second = extract(days(DAY_2))
    assert {file.table: file.rows for file in second.files} == {"orders": 2, "orderdetails": 2}
    assert parquet_files(lake).keys() == {"/" + file.path for file in (*made.files, *second.files)}
    assert not list((settings().home / "tmp").glob("*/*"))


def test_each_extract_has_a_position_of_its_own_though_the_source_stands_still(small_shop: Connection, lake: Lake) -> None:
    """An open transaction makes rows count as unseen again and again; a position must still name one extract's rows."""
    open_shop(small_shop)
    with connect() as open_transaction:
        open_transaction.execute("select pg_current_xact_id()")
        for order, day in enumerate((DAY_1, DAY_2, DAY_3), start=1):
            sell(small_shop, order, at(day))
        positions = [extract(days(day)).lsn for day in (DAY_1, DAY_4, DAY_2, DAY_3, DAY_1)]
    assert positions == sorted(set(positions))
    assert {row["id"] for row in in_lake(lake, "orders")} == {1, 2, 3}


@contextmanager
def _damaged(lake: Lake, path: str, damage: str) -> Iterator[None]:
    target = Path(lake.full(path))
    content = target.read_bytes()
    target.unlink()
    if damage == "altered":
        target.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    elif damage == "cut short":
        target.write_bytes(content[: len(content) // 2])
    yield


@pytest.mark.parametrize("damage", ["altered", "cut short", "gone"])
def test_a_damaged_file_is_one_line_that_names_it_and_says_what_to_do(small_shop: Connection, lake: Lake, damage: str) -> None:
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    made = extract(days(DAY_1))
    path = next(file.path for file in made.files if file.table == "orders")
    with _damaged(lake, path, damage), pytest.raises(DataError) as error:
        lake.read(path)
    assert path in str(error.value)
    assert "restore it" in str(error.value)
    assert "\n" not in str(error.value)
    if damage != "gone":
        with pytest.raises(DataError, match="corrupt"):
            extract(days(DAY_1))


def test_a_manifest_that_cannot_be_read_is_one_line(small_shop: Connection, lake: Lake) -> None:
    open_shop(small_shop)
    made = extract(days(DAY_1))
    for text in ("", "{", "[]", json.dumps({"run": "x"})):
        lake.write_text(f"{manifests.FOLDER}/{made.name}.json", text)
        with pytest.raises(DataError, match="cannot be read"):
            extract(days(DAY_2))


def test_a_source_that_does_not_answer_is_one_line(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAINBOW_POSTGRES_URL", "postgresql://rainbow:secret@127.0.0.1:1/rainbow")
    settings.cache_clear()
    with pytest.raises(ServiceError) as error:
        extract(days(DAY_1))
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


_FULL = """
import resource, sys
from datetime import date
from rainbow.lake.extract import extract
from rainbow.partitions.dates import PartitionRange

day = date.fromisoformat(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    extract(PartitionRange(day, day))
except OSError as error:
    print(error.errno)
"""


def test_a_full_disk_leaves_nothing_in_the_lake_and_the_next_run_makes_it_good(small_shop: Connection, lake: Lake) -> None:
    """No file may grow past 20 kB, as on a disk that is full."""
    open_shop(small_shop)
    small_shop.execute(
        "insert into customers select n, md5(n::text) || md5((n * 7)::text), %(at)s, %(at)s from generate_series(2, 2000) n",
        {"at": at(DAY_1)},
    )
    done = _in_a_process(_FULL, DAY_1)
    assert done.stdout.strip() == str(errno.EFBIG), done.stderr
    assert manifests.names(lake) == []
    assert parquet_files(lake) == {}
    made = extract(days(DAY_1))
    assert {file.table: file.rows for file in made.files}["customers"] == 2000
    assert not list((settings().home / "tmp").glob("*/*"))


_MEASURE = """
import resource, sys
from datetime import date
from rainbow.lake.extract import extract
from rainbow.partitions.dates import PartitionRange

small, large = (date.fromisoformat(text) for text in sys.argv[1:])
extract(PartitionRange(small, small))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
extract(PartitionRange(large, large))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_memory_does_not_grow_with_the_table(small_shop: Connection, lake: Lake) -> None:
    """A day of 200,000 lines fills what buffers there are; a day of 600,000, 66 MB in Arrow and 58 MB as text, takes no more."""
    open_shop(small_shop)
    sell(small_shop, 1, at(DAY_1))
    small_shop.execute("alter table orderdetails disable trigger all")
    small_shop.execute("drop index orderdetails_updated_at_idx, orderdetails_order_id_idx, orderdetails_product_id_idx")
    for day, first, last in ((DAY_1, 10, 200_009), (DAY_2, 200_010, 800_009)):
        small_shop.execute(
            """insert into orderdetails (id, order_id, product_id, quantity, price, amount, discount, created_at, updated_at)
               select n, 1, 1, 2, 10.5, 21, 1, %(at)s, %(at)s from generate_series(%(first)s, %(last)s) n""",
            {"at": at(day), "first": first, "last": last},
        )
    grown = _in_a_process(_MEASURE, DAY_1, DAY_2)
    made = manifests.newest(lake)
    assert made is not None
    assert made.rows == 600_000
    assert int(grown.stdout) < 45
