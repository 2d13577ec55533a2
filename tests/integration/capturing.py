"""`rainbow stream capture` as a process, and what its topics say: the events, and the rows that they lead to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psycopg
from confluent_kafka import TopicPartition

from rainbow.settings import settings
from streaming import clients, topics

Connection = psycopg.Connection[Any]
COMMAND = (sys.executable, "-c", "from rainbow.cli import main; main()", "stream", "capture")


class Capture:
    """A capture at work in a process of its own, on the stack that the settings name."""

    def __init__(self, **named: str) -> None:
        self._log = Path(tempfile.mkstemp(prefix="capture-", suffix=".log")[1])
        with self._log.open("w") as output:
            self.process = subprocess.Popen(COMMAND, env={**os.environ, **named}, stdout=output, stderr=subprocess.STDOUT)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def until(self, said: str, seconds: float = 60) -> Capture:
        """Wait until it has said something."""
        deadline = time.monotonic() + seconds
        while said not in self.log:
            assert time.monotonic() < deadline, self.log
            assert self.process.poll() is None or said in self.log, self.log
            time.sleep(0.02)
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.unlink(missing_ok=True)


@contextmanager
def capturing(**named: str) -> Iterator[Capture]:
    """A capture that streams; it is stopped in good order at the end."""
    capture = Capture(**named)
    try:
        capture.until("  streaming")
        yield capture
        if capture.process.poll() is None:
            assert capture.stop() == 0, capture.log
    finally:
        capture.close()


def wait_until_confirmed(shop: Connection, seconds: float = 60) -> None:
    """Wait until all that was committed so far is acknowledged by the broker."""
    (end,) = shop.execute("select pg_current_wal_lsn()").fetchone() or ("",)
    deadline = time.monotonic() + seconds
    query = "select coalesce(confirmed_flush_lsn >= %s, false) from pg_replication_slots where slot_name = 'rainbow'"
    while (shop.execute(query, [end]).fetchone() or (False,))[0] is False:
        assert time.monotonic() < deadline, shop.execute("select * from pg_replication_slots").fetchall()
        time.sleep(0.02)


@dataclass(frozen=True)
class Record:
    """A record of a topic, with its JSON read; ``value`` is None for a tombstone."""

    topic: str
    partition: int
    offset: int
    key: Any
    value: Any
    headers: dict[str, bytes]

    @property
    def op(self) -> str | None:
        return self.value and self.value["op"]

    @property
    def lsn(self) -> int:
        return int(self.value["source"]["lsn"])


def ends(*names: str) -> dict[tuple[str, int], int]:
    """Where the topics end now; a topic that is not there has no end."""
    admin = clients.administrator()
    reader = clients.consumer("rainbow-tests", None, **{"group.protocol": "classic"})
    try:
        found = admin.list_topics(timeout=10).topics
        partitions = [TopicPartition(name, number) for name in names if name in found for number in found[name].partitions]
        return {(one.topic, one.partition): reader.get_watermark_offsets(one, timeout=10)[1] for one in partitions}
    finally:
        reader.close()


def records(name: str, since: dict[tuple[str, int], int] | None = None) -> list[Record]:
    """A topic's records from some offsets to where it ends now, in each partition in order."""
    begin = {place: (since or {}).get(place, 0) for place in ends(name)}
    left = {place: end for place, end in ends(name).items() if end > begin[place]}
    reader = clients.consumer("rainbow-tests", None, **{"group.protocol": "classic"})
    found: list[Record] = []
    try:
        reader.assign([TopicPartition(*place, begin[place]) for place in left])
        deadline = time.monotonic() + 60
        while left:
            assert time.monotonic() < deadline, left
            for message in reader.consume(1000, 0.2):
                assert not message.error(), message.error()
                place = message.topic(), message.partition()
                if place in left:
                    found.append(_record(message))
                    if message.offset() + 1 >= left[place]:
                        del left[place]
    finally:
        reader.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def _record(message: Any) -> Record:
    key, value = (None if text is None else orjson.loads(text) for text in (message.key(), message.value()))
    return Record(message.topic(), message.partition(), message.offset(), key, value, dict(message.headers() or []))


def rows(found: list[Record]) -> list[dict[str, Any]]:
    """The rows that the events lead to: of each key the one with the largest position, if nothing emptied the table after it; by first column."""
    newest: dict[bytes, tuple[int, Any]] = {}
    emptied = max((record.lsn for record in found if record.op == "t"), default=0)
    for record in found:
        if record.value and record.op != "t":
            key = orjson.dumps(record.key)
            if record.lsn >= newest.get(key, (0, None))[0]:
                newest[key] = record.lsn, record.value["after"]
    left = [row for lsn, row in newest.values() if row is not None and lsn >= emptied]
    return sorted(left, key=lambda row: next(iter(row.values())))


def rows_of(shop: Connection, table: str, key: str = "id") -> list[dict[str, Any]]:
    """The table's rows as PostgreSQL gives them, in the form of the events."""
    columns = shop.execute(
        "select attname::text, format_type(atttypid, null) from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped",
        [table],
    ).fetchall()
    forms = {
        "timestamp with time zone": "replace(replace(\"{}\"::text, ' ', 'T'), '+00', 'Z')",
        "numeric": '"{}"::text',
        "date": "\"{}\" - date '1970-01-01'",
    }
    chosen = ", ".join(f"'{name}', " + forms.get(type_, '"{}"').format(name) for name, type_ in columns)
    return [row for (row,) in shop.execute(f"select json_build_object({chosen}) from {table} order by {key}".encode())]


def by_key(found: list[Record]) -> dict[bytes, list[Record]]:
    """The records of each key, in order."""
    grouped: dict[bytes, list[Record]] = defaultdict(list)
    for record in found:
        if record.key is not None:
            grouped[orjson.dumps(record.key)].append(record)
    return grouped


def names() -> tuple[str, ...]:
    return topics.names()


def url() -> str:
    return settings().url_of("postgres")
