"""The speed layer's throughput: changes a second from PostgreSQL to Kafka, beside the limit, which is reading the same changes and dropping them.

    python benchmarks/stream.py [--changes 200000]

A PostgreSQL and a broker are started in a temporary folder, on the same cores. The changes are inserts and updates of order lines, half and
half, in transactions of 100, made while nobody reads. Then they are read from one slot to nowhere, and from another by `rainbow stream
capture`; its time ends when the slot is confirmed up to their end, so when the broker has all of them. A snapshot of the lines is timed
too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import psycopg

NEW = """
insert into orderdetails (order_id, product_id, promotion_id, quantity, price, amount, discount, created_at, updated_at)
select n / 4 + 1, n %% 1000 + 1, case when n %% 5 = 0 then 1 end, n %% 7, 12.34 + n %% 100, 37.02, 1.5, now(), now()
from generate_series(1, %s) n
"""
CHANGED = "update orderdetails set quantity = quantity + 1, amount = amount + 12.34, updated_at = now() where id between %s and %s"
PARENTS = """
insert into customers (name, created_at, updated_at) values ('An', now(), now());
insert into payments (name, created_at, updated_at) values ('Cash', now(), now());
insert into categories (name, created_at, updated_at) values ('Books', now(), now());
insert into sellers (name, created_at, updated_at) values ('Shop', now(), now());
insert into promotions (name, coupon_type, price_treatment, created_at, updated_at) values ('Ten', 'Percentage', 10, now(), now());
insert into products (name, price, sold_count, category_id, seller_id, created_at, updated_at)
select 'Book ' || n, 12.34, 0, 1, 1, now(), now() from generate_series(1, 1000) n;
insert into orders (customer_id, payment_id, created_at, updated_at) select 1, 1, now(), now() from generate_series(1, 400000) n;
"""


def fill(connection: psycopg.Connection[Any], lines: int) -> None:
    from rainbow.source.schema import create_schema

    with connection.transaction():
        create_schema(connection)
    connection.execute(PARENTS)  # type: ignore[arg-type]
    connection.execute(NEW, [lines])
    connection.execute("vacuum analyze orderdetails")


def change(connection: psycopg.Connection[Any], changes: int) -> None:
    """Inserts and updates in turn, 100 rows a transaction."""
    for number in range(changes // 200):
        connection.execute(NEW, [100])
        connection.execute(CHANGED, [number * 100 + 1, number * 100 + 100])


def read_to_nowhere(url: str, slot: str, changes: int) -> float:
    """Seconds to read the changes and nothing else."""
    from streaming.capture.wire import Replication

    replication, seen = Replication(url), 0
    began = time.perf_counter()
    replication.start(slot, "rainbow", 0, lambda: None)
    while seen < changes:
        messages = replication.read(5000)
        seen += sum(message[25] in b"IU" for message in messages if message[0] == ord("w"))
        if not messages:
            replication.wait(0.2)
    seconds = time.perf_counter() - began
    replication.close()
    return seconds


class Capturing:
    """`rainbow stream capture` as a process, with the most memory that it took."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("w") as output:
            self._process = psutil.Popen([sys.executable, "-c", "from rainbow.cli import main; main()", "stream", "capture"], stderr=output)
        self.peak = 0

    def until_streaming(self) -> float:
        """The moment when the snapshot, if there is one, is done."""
        while "  streaming" not in self._log.read_text():
            self._rest()
        return time.perf_counter()

    def until_confirmed(self, connection: psycopg.Connection[Any], end: str) -> float:
        """The moment when all before a position is acknowledged by the broker."""
        query = "select confirmed_flush_lsn >= %s::pg_lsn from pg_replication_slots where slot_name = 'rainbow'"
        while not (connection.execute(query, [end]).fetchone() or (False,))[0]:
            self._rest()
        return time.perf_counter()

    def _rest(self) -> None:
        time.sleep(0.005)
        self.peak = max(self.peak, self._process.memory_info().rss)

    def cpu(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)


def measure_capture(connection: psycopg.Connection[Any], url: str, home: Path, changes: int, lines: int) -> dict[str, Any]:
    began = time.perf_counter()
    first = Capturing(home / "first.log")
    snapshot = first.until_streaming() - began
    first.stop()
    connection.execute("select pg_create_logical_replication_slot('limit', 'pgoutput')")
    change(connection, changes)
    (end,) = connection.execute("select pg_current_wal_lsn()::text").fetchone() or ("",)
    limit = [read_to_nowhere(url, "limit", changes) for _ in range(2)]
    second = Capturing(home / "second.log")
    starts = second.until_streaming()
    done = second.until_confirmed(connection, end)
    used = second.cpu()
    second.stop()
    connection.execute("select pg_drop_replication_slot('limit')")
    return {
        "changes": changes,
        "reading alone, changes/s": round(changes / min(limit)),
        "capture, changes/s": round(changes / (done - starts)),
        "capture, CPU us a change, start included": round(used / changes * 1e6, 1),
        "capture, peak MB": round(max(first.peak, second.peak) / 1e6),
        "snapshot, rows": lines + 401_005,
        "snapshot, s, start included": round(snapshot, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=200_000)
    parser.add_argument("--lines", type=int, default=400_000, help="Order lines that are there before.")
    parser.add_argument("--jars", type=Path, help="A folder with Kafka's jars; default: they are fetched.")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="rainbow-benchmark-"))
    os.environ |= {"RAINBOW_HOME": str(home), "PLOOMBER_STATS_ENABLED": "false"}
    if arguments.jars:
        os.environ["RAINBOW_KAFKA_JARS"] = str(arguments.jars)
    from rainbow import stack
    from rainbow.settings import settings

    try:
        stack.up(["postgres", "kafka"])
        url = settings().url_of("postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            fill(connection, arguments.lines)
            measured = {"capture": measure_capture(connection, url, home, arguments.changes, arguments.lines)}
    finally:
        stack.down()
        shutil.rmtree(home, ignore_errors=True)
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
