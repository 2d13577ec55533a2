"""How far the speed layer is: the slot's position, the topics' end offsets, the group's committed offsets, the mirror's newest events.

Caught up, exactly: capture confirms only what the broker acknowledged, so once the slot has confirmed a position the topics hold all
changes before it; once the group has committed the end offsets that were read after that, ClickHouse has them.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from rainbow.errors import ServiceError
from streaming import topics
from streaming.capture.slot import SLOT

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client
    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient

# a partition of a topic, and its next offset
Positions = dict[tuple[str, int], int]

_PATIENCE = 10.0
_PAUSE = 0.02

# Kafka's numbers for a topic or partition whose leader is just changing: unknown, no leader, another leader, an older epoch
_UNSETTLED = frozenset({3, 5, 6, 74, 75, -185, -188, -190})


@dataclass(frozen=True)
class Slot:
    """The slot: what capture has confirmed, and what the server has written; positions in the log in bytes.

    ``seconds`` is by how much capture is behind in time, None where that cannot be told.
    """

    confirmed: int
    written: int
    active: bool
    status: str
    seconds: float | None

    @property
    def lag(self) -> int:
        """Bytes that capture has still to confirm."""
        return max(self.written - self.confirmed, 0)


def written(connection: Any) -> int:
    """The position up to which the server has written its log, in bytes."""
    position: int = connection.execute("select pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()[0]
    return int(position)


def slot(connection: Any) -> Slot | None:
    """The slot's state; None when there is no slot."""
    row = connection.execute(
        """select s.confirmed_flush_lsn - '0/0'::pg_lsn, pg_current_wal_lsn() - '0/0'::pg_lsn, s.active, coalesce(s.wal_status, ''),
                  extract(epoch from r.flush_lag)
           from pg_replication_slots s left join pg_stat_replication r on r.pid = s.active_pid
           where s.slot_name = %s and s.confirmed_flush_lsn is not null""",
        [SLOT],
    ).fetchone()
    if row is None:
        return None
    confirmed, there, active, status, seconds = row
    if confirmed >= there:
        seconds = 0
    return Slot(int(confirmed), int(there), active, status, None if seconds is None else float(seconds))


class Offsets:
    """The offsets of the tables' topics. Raises ServiceError when no broker answers."""

    def __init__(self, admin: AdminClient | None = None) -> None:
        from streaming.clients import administrator

        self._admin = admin or administrator()
        self._reader: Consumer | None = None

    def topics(self) -> list[str]:
        """The tables' topics that there are, in order."""
        from confluent_kafka import KafkaException

        try:
            return sorted(name for name in self._admin.list_topics(timeout=_PATIENCE).topics if re.match(topics.PATTERN, name))
        except KafkaException as error:
            raise _no_answer(error) from error

    def ends(self, names: Container[str] | None = None) -> Positions:
        """The end offset of each partition of the tables' topics, or of these topics."""
        from confluent_kafka.admin import OffsetSpec

        return self._listed(names, OffsetSpec.latest())

    def beginnings(self, names: Container[str] | None = None) -> Positions:
        """The first offset that is still there, of each partition."""
        from confluent_kafka.admin import OffsetSpec

        return self._listed(names, OffsetSpec.earliest())

    def committed(self, partitions: Iterable[tuple[str, int]]) -> Positions:
        """The next offset that the group has committed, of each of these partitions of which it has."""
        from confluent_kafka import KafkaException, TopicPartition

        from streaming.clients import consumer

        # by a consumer, which does not join: an administrator that asks the group's coordinator ends the process when the coordinator dies
        # meanwhile (librdkafka's issue 4605)
        if self._reader is None:
            self._reader = consumer(topics.GROUP)
        try:
            found = self._reader.committed([TopicPartition(*where) for where in partitions], timeout=_PATIENCE)
        except KafkaException as error:
            raise _no_answer(error) from error
        if failed := next((p.error for p in found if p.error), None):
            raise _no_answer(KafkaException(failed))
        return {(p.topic, p.partition): p.offset for p in found if p.offset >= 0}

    def behind(self, target: Mapping[tuple[str, int], int]) -> Positions:
        """How many records the group has to go to reach offsets, by partition; those that it has reached are left out.

        What a topic no longer keeps is not waited for.
        """
        committed = self.committed(target)
        late = {where: end for where, end in target.items() if committed.get(where, 0) < end}
        if not late:
            return {}
        first = self.beginnings({topic for topic, _ in late})
        behind = {where: end - max(committed.get(where, 0), first.get(where, 0)) for where, end in late.items()}
        return {where: records for where, records in behind.items() if records > 0}

    def expired(self, target: Collection[tuple[str, int]]) -> Positions:
        """How many records of these partitions the broker deleted before the group read them; those of which it did none are left out."""
        committed = self.committed(target)
        first = self.beginnings({topic for topic, _ in target})
        expired = {where: first.get(where, 0) - committed.get(where, 0) for where in target}
        return {where: records for where, records in expired.items() if records > 0}

    def _listed(self, names: Container[str] | None, of: Any) -> Positions:
        from confluent_kafka import KafkaException, TopicPartition

        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                found = self._admin.list_topics(timeout=_PATIENCE).topics
                wanted = [name for name in found if (re.match(topics.PATTERN, name) if names is None else name in names)]
                asked = {TopicPartition(name, number): of for name in wanted for number in found[name].partitions}
                answers = self._admin.list_offsets(asked, request_timeout=_PATIENCE) if asked else {}
                return {(where.topic, where.partition): _result(answer).offset for where, answer in answers.items()}
            except KafkaException as error:
                # a partition that is just given to another broker, or a topic that is just made anew
                if error.args[0].code() not in _UNSETTLED or time.monotonic() > deadline:
                    raise _no_answer(error) from error
                time.sleep(_PAUSE)


def wait_until_caught_up(seconds: float = 30) -> None:
    """Wait until ClickHouse has all that PostgreSQL had committed when this was called. Raises ServiceError, with what is missing."""
    from rainbow.source.connection import connect

    deadline = time.monotonic() + seconds
    with connect(autocommit=True) as connection:
        target = written(connection)
        state = slot(connection)
        # a slot that nobody reads may be one whose initial snapshot is not in the topics yet
        while state is None or not state.active or state.confirmed < target:
            if time.monotonic() > deadline:
                raise ServiceError(f"not caught up after {seconds:g} s: {_missing(state, target)}; is `rainbow stream capture` running?")
            time.sleep(_PAUSE)
            state = slot(connection)
    offsets = Offsets()
    ends = offsets.ends()
    while behind := offsets.behind(ends):
        if time.monotonic() > deadline:
            (topic, partition), records = next(iter(behind.items()))
            raise ServiceError(
                f"not caught up after {seconds:g} s: the mirror is {sum(behind.values())} records behind, "
                f"{records} of them in {topic}/{partition}; is `rainbow stream mirror` running?"
            )
        time.sleep(_PAUSE)


def _missing(state: Slot | None, target: int) -> str:
    if state is None:
        return "there is no slot"
    late = target - state.confirmed
    return f"capture is {late} bytes behind" if late > 0 else "capture does not stream"


@dataclass(frozen=True)
class TableProgress:
    """How far the mirror of a table is. ``rate``: records a second that were committed since the status before, None for the first."""

    topic: str
    table: str
    records: int
    lag: int
    rate: float | None
    last_event: datetime | None
    dead_letters: int


@dataclass(frozen=True)
class Status:
    """The state of the speed layer at an instant; ``slot`` is None when there is none."""

    at: datetime
    slot: Slot | None
    tables: tuple[TableProgress, ...]


@dataclass
class Watch:
    """Takes the status again and again; rates are those between two calls, dead letters are read on from where the last call was."""

    _before: Positions = field(default_factory=dict)
    _taken: float = 0.0
    _letters: set[tuple[str, int, int]] = field(default_factory=set)
    _letters_read: int = 0

    def status(self) -> Status:
        """The status now. Raises SettingsError or ServiceError when a service is not there."""
        from rainbow.olap.client import connect as connect_clickhouse
        from rainbow.source.connection import connect

        with connect(autocommit=True) as connection:
            state = slot(connection)
        offsets = Offsets()
        ends = offsets.ends()
        committed, taken = offsets.committed(ends), time.monotonic()
        behind = offsets.behind(ends)
        dead = self._dead_letters(offsets)
        with closing(connect_clickhouse()) as client:
            newest = last_events(client)
        rates = self._rates(ends, committed, taken)
        tables = []
        for topic in sorted({topic for topic, _ in ends}):
            table = topics.table_of(topic)
            tables.append(
                TableProgress(
                    topic=topic,
                    table=table,
                    records=sum(end for (name, _), end in ends.items() if name == topic),
                    lag=sum(records for (name, _), records in behind.items() if name == topic),
                    rate=rates.get(topic),
                    last_event=newest.get(table),
                    dead_letters=dead[topic],
                )
            )
        return Status(datetime.now(UTC), state, tuple(tables))

    def _rates(self, ends: Positions, committed: Positions, taken: float) -> dict[str, float]:
        """Records a second by topic, since the call before."""
        before, self._before = self._before, committed
        since, self._taken = taken - self._taken, taken
        if not before:
            return {}
        read: Counter[str] = Counter({topic: 0 for topic, _ in ends})
        for (topic, partition), offset in committed.items():
            read[topic] += max(offset - before.get((topic, partition), 0), 0)
        return {topic: records / since for topic, records in read.items()}

    def _dead_letters(self, offsets: Offsets) -> Counter[str]:
        """Dead letters by topic; one that was written twice, since its batch was read again, counts once."""
        name = topics.DEAD_LETTERS
        end, first = offsets.ends([name]).get((name, 0), 0), offsets.beginnings([name]).get((name, 0), 0)
        for number, content in enumerate(dead_letters(max(self._letters_read, first), end), start=self._letters_read):
            # capture's own, of events that were never in a topic, have no offset
            where = -1 if content["partition"] is None else content["partition"]
            self._letters.add((content["topic"], where, number if content["offset"] is None else content["offset"]))
        self._letters_read = end
        return Counter(topic for topic, _, _ in self._letters)


def dead_letters(first: int, end: int) -> Iterable[dict[str, Any]]:
    """The dead letters between two offsets. Raises ServiceError when the broker stops answering."""
    if first >= end:
        return
    from confluent_kafka import TopicPartition

    from streaming.clients import consumer

    with closing(consumer(f"{topics.GROUP}-letters")) as reader:
        reader.assign([TopicPartition(topics.DEAD_LETTERS, 0, first)])
        while True:
            message = reader.poll(_PATIENCE)
            if message is None:
                raise ServiceError(f"the topic {topics.DEAD_LETTERS} cannot be read")
            if not message.error():
                yield orjson.loads(message.value() or b"{}")
                if (message.offset() or 0) + 1 >= end:
                    return


def last_events(client: Client) -> dict[str, datetime]:
    """When the newest change of each table that the mirror has was committed, by table."""
    tables = [
        name
        for (name,) in client.query(
            "select table from system.columns where database = 'mirror' and name = '_committed_at' and table not like '%\\\\_history'"
        ).result_rows
    ]
    selects = [
        f"select {_literal(name)}, max(_committed_at), count() from mirror.`{name}`" for name in tables if not name.endswith("_to_history")
    ]
    if not selects:
        return {}
    rows = client.query(" union all ".join(selects), query_tz="UTC", tz_mode="aware").result_rows
    return {name: newest for name, newest, count in rows if count}


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _result(future: Any) -> Any:
    """What an administrator's request brings. Raises ServiceError when it brings nothing for longer than the request may take."""
    try:
        return future.result(2 * _PATIENCE)
    except FutureTimeoutError:
        raise ServiceError("Kafka does not answer: a request was lost; see `rainbow status`, or set RAINBOW_KAFKA_SERVERS") from None


def _no_answer(error: Exception) -> ServiceError:
    reason = error.args[0].str() if hasattr(error.args[0], "str") else error
    return ServiceError(f"Kafka does not answer: {reason}; see `rainbow status`, or set RAINBOW_KAFKA_SERVERS")
