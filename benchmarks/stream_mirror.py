"""What the mirror takes in, beside its limits on the same machine in the same run.

    python benchmarks/stream_mirror.py [--events 200000] [--seconds 15]

A Kafka, a ClickHouse and a mirror of their own in a temporary folder. The topics are filled first: a half new order lines, a quarter
changes of lines and a quarter changes of products, both with the image before (REPLICA IDENTITY FULL). Then, one after the other: the
messages are read and thrown away (confluent-kafka), the same rows are inserted as ready Arrow tables, the mirror does its work.

Then the mirror has 1.2 million lines, and changes come of lines all over them, a quarter as many as before: their keys are far from each
other, unlike those of new lines.

At last a shop with a capture: 1,000 rows a second, an order and nine lines a transaction, and for each the time from its COMMIT's return
until it is counted: in the mirror's table, and in the unified view `serving.total_sales`, as a client sees that asks again 20 ms after
each answer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def events(count: int) -> Any:
    from tests.integration.change_events import event, row

    chance = random.Random(7)
    lines: dict[int, Any] = {}
    for n in range(count):
        lsn = 1_000_000 + 64 * n
        kind = n % 4
        if kind in (0, 1):
            price = f"{chance.randrange(1, 90_000)}.{chance.randrange(10_000):04}"
            lines[n] = row("orderdetails", n, order_id=n // 3, product_id=chance.randrange(5000), price=price, amount=f"{price}"[:-2])
            yield event("orderdetails", "c", lsn, after=lines[n])
        elif kind == 2:
            before = lines[n - 2]
            yield event(
                "orderdetails", "u", lsn, before=before, after={**before, "quantity": 3, "updated_at": "2024-09-02T11:12:13.123456Z"}
            )
        else:
            before = row("products", chance.randrange(5000), sold_count=n)
            yield event("products", "u", lsn, before=before, after={**before, "sold_count": n + 1})


HISTORY = 1_200_000  # lines, of five an order


def fill_history() -> None:
    """What the mirror would have of a longer time."""
    from benchmarks.serving import fill_mirror
    from rainbow.olap.client import connect

    with contextlib.closing(connect()) as client:
        fill_mirror(client, HISTORY, 37)


def scattered(count: int) -> Any:
    """Changes of lines that `fill_history` made, each of another one."""
    from benchmarks.serving import FIRST
    from tests.integration.change_events import event, row

    began = datetime.fromisoformat(FIRST)
    second = 37 * 86400 / (HISTORY // 5)
    for n, number in enumerate(random.Random(7).sample(range(HISTORY), count)):
        created = f"{(began + timedelta(seconds=int(number // 5 * second))).isoformat()}Z"
        before = row("orderdetails", number + 1, order_id=number // 5 + 1, created_at=created)
        yield event(
            "orderdetails",
            "u",
            2_000_000_000 + 64 * n,
            before=before,
            after={**before, "quantity": 3, "updated_at": "2024-09-08T11:12:13.123456Z"},
        )


def raw_consuming(count: int) -> float:
    from streaming import topics
    from streaming.clients import consumer

    reader = consumer("raw", None, **{"queued.max.messages.kbytes": 16 << 10, "queued.min.messages": 20_000, "fetch.queue.backoff.ms": 5})
    reader.subscribe([topics.topic_of("orderdetails"), topics.topic_of("products")])
    left, began = count, 0.0
    while left > 0:
        got = reader.consume(1000, 1)
        began = began or time.perf_counter()
        left -= len(got)
    took = time.perf_counter() - began
    reader.close()
    return took


def raw_inserting(told: list[Any]) -> dict[str, float]:
    """Seconds to insert the rows as Arrow tables of 10,000; as ready types, and as text that ClickHouse converts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from rainbow.olap.client import connect
    from rainbow.olap.mirror.kept import create_all
    from rainbow.source.tables import TABLES
    from streaming.mirror.applying import to_arrow
    from streaming.mirror.batch import Batch
    from streaming.mirror.tables import Tables
    from streaming.topics import table_of

    client = connect(compress=False)
    create_all(client, TABLES)
    tables = Tables(client, client)
    ready = []
    for start in range(0, len(told), 10_000):
        batch = Batch()
        batch.add([Told(*one, start + n) for n, one in enumerate(told[start : start + 10_000])])
        ready += [(table_of(topic), to_arrow(client, tables, table_of(topic), changes)[0]) for topic, changes in batch.changes.items()]
    took = {}

    def as_text(table: Any, ending: str = "Z") -> Any:
        """Decimals and instants as text. ClickHouse's conversion refuses the Z with which instants end in events."""
        texts = [
            pc.utf8_rtrim(column.cast(pa.string()), "" if ending else "Z")
            if pa.types.is_decimal(column.type) or pa.types.is_timestamp(column.type)
            else column
            for column in table.columns
        ]
        return pa.table(dict(zip(table.column_names, texts, strict=True)))

    for name, prepared in (("arrow", ready), ("text", [(table, as_text(rows, "")) for table, rows in ready])):
        began = time.perf_counter()
        for table, rows in prepared:
            client.insert_arrow(f"mirror.{table}", rows)
        took[name] = time.perf_counter() - began
        client.command("drop database mirror sync")
        create_all(client, TABLES)
    texts = {
        name: [as_text(rows)[column].combine_chunks() for table, rows in ready if table == "orderdetails" for column in columns]
        for name, columns in {"decimals": ("price", "amount"), "instants": ("created_at", "updated_at")}.items()
    }
    for name, type_ in (("decimals", pa.decimal128(18, 4)), ("instants", pa.timestamp("us", "UTC"))):
        began = time.perf_counter()
        for column in texts[name]:
            column.cast(type_)
        took[f"cast_{name}_us_a_value"] = (time.perf_counter() - began) * 1e6 / sum(map(len, texts[name]))
    client.close()
    return took


class Told:
    """An event as a message."""

    def __init__(self, topic: str, key: bytes | None, value: bytes | None, _partition: int | None, offset: int) -> None:
        self._parts = topic, key, value, offset

    def topic(self) -> str:
        return self._parts[0]

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._parts[3]

    def key(self) -> bytes | None:
        return self._parts[1]

    def value(self) -> bytes | None:
        return self._parts[2]

    def headers(self) -> list[tuple[str, bytes]] | None:
        return None


def mirroring(count: int) -> dict[str, Any]:
    """Run a mirror as people do, until it has committed all."""
    import psutil

    from streaming.progress import Offsets

    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", "from rainbow.cli import main; main()", "stream", "mirror"], cwd=ROOT)
    try:
        offsets = Offsets()
        target = offsets.ends()
        first = None
        while sum(offsets.behind(target).values()):
            if first is None and offsets.committed(target):
                # the first batch is in by now, it counts for the time after it
                first, before = time.perf_counter(), sum(offsets.committed(target).values())
            time.sleep(0.05)
        ended = time.perf_counter()
        assert first
        times = psutil.Process(process.pid).cpu_times()
        memory = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        return {
            "rows_a_second": round((count - before) / (ended - first)),
            "seconds_from_start": round(ended - began, 2),
            "cpu_seconds": round(times.user + times.system, 2),
            "peak_mb": int(memory.split()[1]) >> 10,
        }
    finally:
        process.terminate()
        process.wait()


def visible(seconds: float) -> dict[str, Any]:
    """Milliseconds from COMMIT to visible, at 1,000 changes a second, in the mirror's table and in the unified view."""
    from rainbow.source.connection import connect
    from rainbow.source.schema import create_schema
    from streaming.progress import wait_until_caught_up

    with connect(autocommit=True) as shop, shop.transaction():
        create_schema(shop)
        for table in ("categories", "sellers", "customers", "payments"):
            shop.execute(f"insert into {table} values (1, 'N', now(), now())")  # type: ignore[arg-type]
        shop.execute(
            "insert into products (id, name, price, sold_count, category_id, seller_id, created_at, updated_at) values (1, 'N', 1, 0, 1, 1, now(), now())"
        )
    command = [sys.executable, "-c", "from rainbow.cli import main; main()", "stream"]
    processes = [subprocess.Popen([*command, name], cwd=ROOT) for name in ("capture", "mirror")]
    try:
        time.sleep(5)
        wait_until_caught_up(60)
        return {
            "mirror": _visible("select count() from mirror.orderdetails", seconds, 0),
            "unified view": _visible("select sum(sales_quantity) from serving.total_sales", seconds, 1_000_000),
        }
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _visible(counted: str, seconds: float, first: int) -> dict[str, Any]:
    """Post orders for some seconds, and see when the query counts their lines."""
    from rainbow.olap.client import connect as connect_clickhouse
    from rainbow.source.connection import connect

    committed: list[float] = []
    seen: list[float] = []
    reads: list[float] = []
    done = threading.Event()
    with contextlib.closing(connect_clickhouse()) as client:
        there = client.query(counted).result_rows[0][0]

    def watch() -> None:
        with contextlib.closing(connect_clickhouse()) as client:
            while not done.is_set() or len(seen) < len(committed):
                asked = time.perf_counter()
                count = client.query(counted).result_rows[0][0] - there
                now = time.perf_counter()
                reads.append((now - asked) * 1000)
                seen.extend([now] * (count // 9 - len(seen)))
                time.sleep(0.02)

    watching = threading.Thread(target=watch)
    watching.start()
    began = time.perf_counter()
    with connect(autocommit=True) as shop:
        for n in range(int(seconds * 100)):
            time.sleep(max(0, began + n / 100 - time.perf_counter()))
            order = first + n + 1
            shop.execute(
                f"""with o as (insert into orders (id, customer_id, payment_id, created_at, updated_at) values ({order}, 1, 1, now(), now()))
                insert into orderdetails (id, order_id, product_id, quantity, price, amount, discount, created_at, updated_at)
                select {order} * 10 + g, {order}, 1, 1, 1, 1, 0, now(), now() from generate_series(1, 9) g"""  # type: ignore[arg-type]
            )
            committed.append(time.perf_counter())
    rate = 10 * len(committed) / (time.perf_counter() - began)
    done.set()
    watching.join(60)
    late = sorted((s - c) * 1000 for c, s in zip(committed, seen, strict=True))
    reads.sort()
    return {
        "changes_a_second": round(rate),
        "p50_ms": round(late[len(late) // 2]),
        "p95_ms": round(late[len(late) * 95 // 100]),
        "read_p50_ms": round(reads[len(reads) // 2]),
    }


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=15)
    chosen = parser.parse_args()
    count = chosen.events
    from rainbow import stack
    from rainbow.settings import settings
    from rainbow.stack import kafka_jars

    jars = user_cache_path("rainbow-workbench") / f"kafka-{kafka_jars.VERSION}"
    kafka_jars.fetch(jars)
    with tempfile.TemporaryDirectory(prefix="rainbow-") as home:
        os.environ.update(RAINBOW_HOME=home, RAINBOW_KAFKA_JARS=str(jars))
        settings.cache_clear()
        try:
            stack.up(["postgres", "clickhouse", "kafka"])
            settings.cache_clear()
            from rainbow.olap.client import connect
            from tests.integration.change_events import forget_topics, send

            told = list(events(count))
            send(told)
            took = raw_inserting(told)
            consuming = raw_consuming(count)
            found = {
                "events": count,
                "mean_bytes": round(sum(len(value or b"") for _, _, value, _ in told) / count),
                "raw_consuming_a_second": round(count / consuming),
                "raw_insert_arrow_rows_a_second": round(count / took["arrow"]),
                "raw_insert_text_rows_a_second": round(count / took["text"]),
                "arrow_cast_us": {name: round(took[f"cast_{name}_us_a_value"], 3) for name in ("decimals", "instants")},
                "mirror": mirroring(count),
            }
            forget_topics()
            with contextlib.closing(connect()) as client:
                client.command("drop database mirror sync")
            fill_history()
            send(scattered(count // 4))
            found["mirror_far_keys"] = mirroring(count // 4)
            forget_topics()
            with contextlib.closing(connect()) as client:
                client.command("drop database mirror sync")
            found["commit_to_visible"] = visible(chosen.seconds)
            found["load_average"] = os.getloadavg()[0]
            print(json.dumps(found, indent=2))
        finally:
            stack.down()


if __name__ == "__main__":
    main()
