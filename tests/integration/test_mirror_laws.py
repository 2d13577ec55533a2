"""Random histories of a real PostgreSQL through capture, Kafka and the mirror: ClickHouse's rows are PostgreSQL's, and its history is
what the source went through."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as laws
from hypothesis import strategies as st

from rainbow.errors import ServiceError
from rainbow.olap.client import connect as connect_clickhouse
from rainbow.settings import PROJECT_ROOT, Settings, settings
from rainbow.source.connection import connect
from rainbow.source.schema import create_schema
from streaming.mirror.metrics import Metrics
from streaming.progress import Watch, wait_until_caught_up, written
from tests.integration.change_events import forget_topics
from tests.integration.conftest import new_database
from tests.integration.following import drop_slot, wait_until_mirrored
from tests.integration.mirror_story import letters, processes

pytestmark = pytest.mark.services

Connection = psycopg.Connection[Any]
Sized = Callable[[int, int], int]

# nobody declared these: one whose old image is its key alone, so that the mirror fills in big values, and one with a key of two columns
SCHEMA = """
create table notes (id bigint primary key, body text, amount numeric(12,2), day date, open boolean, updated_at timestamptz not null default now());
alter table notes alter column body set storage external;
create table pairs (a bigint, b text, value text, primary key (a, b));
alter table pairs replica identity full;
create table audit (seq bigserial primary key, id bigint, name text, deleted boolean);
create function audit() returns trigger language plpgsql as $$ begin
    if tg_op = 'DELETE' or (tg_op = 'UPDATE' and old.id <> new.id) then
        insert into audit (id, name, deleted) values (old.id, old.name, true);
    end if;
    if tg_op <> 'DELETE' then insert into audit (id, name, deleted) values (new.id, new.name, false); end if;
    return null;
end $$;
create trigger audit after insert or update or delete on brands for each row execute function audit();
"""
COLUMNS = {"brands": "id, name, created_at, updated_at", "notes": "id, body, amount, day, open, updated_at", "pairs": "a, b, value"}

# two sessions, each with keys of its own, so that none waits for the other; what a session does is one of these, by number
SESSIONS, OWN_KEYS = 2, 4
STATEMENTS: dict[str, tuple[str, ...]] = {
    "brands": (
        "insert into brands (id, name, created_at, updated_at) values (%(id)s, %(text)s, now(), now()) on conflict do nothing",
        "update brands set name = %(text)s where id = %(id)s",
        "update brands set updated_at = clock_timestamp() where id = %(id)s",
        "delete from brands where id = %(id)s",
        "update brands set id = id + 100 where id = %(id)s and not exists (select from brands where id = %(id)s + 100)",
        "update brands set id = id - 100 where id = %(id)s + 100 and not exists (select from brands where id = %(id)s)",
    ),
    "notes": (
        "insert into notes values (%(id)s, %(text)s, %(id)s + 0.25, '2024-02-29', true) on conflict do nothing",
        "update notes set body = %(text)s, amount = amount + 1 where id = %(id)s",
        "update notes set updated_at = clock_timestamp(), amount = null, day = null where id = %(id)s",
        "delete from notes where id = %(id)s",
        "update notes set id = id + 100 where id = %(id)s and not exists (select from notes where id = %(id)s + 100)",
        "update notes set amount = 7, open = not open where id in (%(id)s, %(id)s + 100)",
    ),
    "pairs": (
        "insert into pairs values (%(id)s, 'x''\\y', %(text)s) on conflict do nothing",
        "update pairs set value = %(text)s where a = %(id)s",
        "update pairs set b = b || '!' where a = %(id)s",
        "delete from pairs where a = %(id)s",
        "insert into pairs values (%(id)s, 'z', null) on conflict do nothing",
        "update pairs set value = null where a = %(id)s",
    ),
}
ENDS = ("commit", "rollback", "commit")


@dataclass(frozen=True)
class Step:
    """What a session does next: a statement, perhaps undone by a savepoint, or the end of its transaction."""

    session: int
    table: str
    statement: int
    key: int
    text: str
    undone: bool
    end: str | None


def texts() -> st.SearchStrategy[str]:
    """Small texts, and ones too big for a row."""
    small = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=6)
    return small | st.integers(0, 9).map(lambda seed: "".join(random.Random(seed).choices("0123456789abcdef", k=12_000)))


steps = st.builds(
    Step,
    session=st.integers(0, SESSIONS - 1),
    table=st.sampled_from(sorted(STATEMENTS)),
    statement=st.integers(0, 5),
    key=st.integers(1, OWN_KEYS),
    text=texts(),
    undone=st.sampled_from((False, False, False, True)),
    end=st.sampled_from((None, None, None, None, *ENDS)),
)
histories = st.lists(steps, min_size=1, max_size=60)


@pytest.fixture(scope="module")
def chain(stream_stack: Settings) -> Iterator[Connection]:
    """A connection to a shop that is captured and mirrored."""
    forget_topics()
    with closing(connect_clickhouse()) as clickhouse:
        clickhouse.command("drop database if exists mirror sync")
    with new_database(stream_stack.url_of("postgres")) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAINBOW_POSTGRES_URL", url)
        settings.cache_clear()
        with connect(autocommit=True) as shop:
            with shop.transaction():
                create_schema(shop)
            shop.execute(SCHEMA)
            shop.execute("create publication rainbow for table brands, notes, pairs")
            with processes(1, "capture"):
                wait_until_mirrored()
                yield shop
            drop_slot(shop)
        patch.undo()
        settings.cache_clear()


def live_through(history: list[Step]) -> None:
    """Do what a history says, its sessions' transactions interleaved; what is open at the end is committed."""
    sessions = [connect() for _ in range(SESSIONS)]
    try:
        for step in history:
            session = sessions[step.session]
            values = {"id": step.session * OWN_KEYS + step.key, "text": step.text}
            if step.undone:
                session.execute("savepoint s")
            session.execute(STATEMENTS[step.table][step.statement].encode(), values)
            if step.undone:
                session.execute("rollback to savepoint s")
            if step.end:
                session.execute(step.end.encode())
        for session in sessions:
            session.commit()
    finally:
        for session in sessions:
            session.close()


def difference(shop: Connection, clickhouse: Any) -> dict[str, Any]:
    """Tables whose rows are not PostgreSQL's, with both."""
    found = {}
    for table, columns in COLUMNS.items():
        source = shop.execute(f"select {columns} from {table}".encode()).fetchall()
        names = {
            name
            for (name,) in clickhouse.query(f"select name from system.columns where database = 'mirror' and table = '{table}'").result_rows
        }
        # a column in which nothing but NULL was seen is not there
        listed = [name if name in names else f"null as {name}" for name in columns.split(", ")]
        mirrored = (
            clickhouse.query(f"select {', '.join(listed)} from mirror.{table} final", query_tz="UTC", tz_mode="aware").result_rows
            if names
            else []
        )
        if sorted(map(_comparable, source)) != sorted(map(_comparable, mirrored)):
            found[table] = (source, mirrored)
    return found


def _comparable(row: tuple[Any, ...]) -> tuple[str, ...]:
    """A row by value: an undeclared table's numerics and instants are text in the mirror, its dates days since 1970."""

    def plain(value: Any) -> str:
        if isinstance(value, datetime):
            text = value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "")
            return text.rstrip("0").rstrip(".") if "." in text else text
        if isinstance(value, date):
            return str((value - date(1970, 1, 1)).days)
        text = str(value)
        if len(text) > 19 and text[10] == "T" and text.endswith("Z"):
            text = text[:-1]
            return text.rstrip("0").rstrip(".") if "." in text else text
        return text

    return tuple(map(plain, row))


def test_the_mirror_is_postgresql_row_for_row_and_its_history_what_the_source_went_through(chain: Connection, sized: Sized) -> None:
    with closing(connect_clickhouse()) as clickhouse:

        @laws(max_examples=sized(12, 1000), deadline=None, suppress_health_check=list(HealthCheck))
        @given(history=histories)
        def holds(history: list[Step]) -> None:
            chain.execute("truncate brands, notes, pairs, audit cascade")
            began = written(chain)
            live_through(history)
            wait_until_caught_up(60)
            assert difference(chain, clickhouse) == {}
            went_through: dict[int, list[tuple[str, bool]]] = {}
            for key, name, deleted in chain.execute("select id, name, deleted from audit order by seq"):
                went_through.setdefault(key, []).append((name, deleted))
            seen: dict[int, list[tuple[str, bool]]] = {}
            for key, name, deleted in clickhouse.query(
                f"select id, name, _deleted from mirror.brands_history final where _lsn >= {began} order by _lsn"
            ).result_rows:
                seen.setdefault(key, []).append((name, bool(deleted)))
            assert seen == went_through

        holds()
    assert letters() == []


def test_columns_are_added_dropped_and_renamed_while_rows_change(chain: Connection) -> None:
    chain.execute("truncate pairs")
    chain.execute("insert into pairs values (1, 'k', 'old')")
    chain.execute("alter table pairs add column extra numeric")
    chain.execute("insert into pairs values (2, 'k', 'new', 1.50)")
    chain.execute("alter table pairs rename column value to content")
    chain.execute("insert into pairs values (3, 'k', 'renamed', 2)")
    chain.execute("alter table pairs drop column content")
    chain.execute("update pairs set extra = 3 where a = 1")
    chain.execute("alter table pairs add column value text")
    wait_until_caught_up(60)
    with closing(connect_clickhouse()) as clickhouse:
        found = clickhouse.query("select a, value, content, extra from mirror.pairs final order by a").result_rows
        assert found == [(1, None, None, "3"), (2, "new", None, "1.50"), (3, None, "renamed", "2")]


def test_the_status_says_how_far_all_is(chain: Connection) -> None:
    chain.execute("truncate brands cascade")
    watch = Watch()
    watch.status()
    chain.execute("insert into brands select n, 'N', now(), now() from generate_series(1, 500) n")
    wait_until_caught_up(60)
    status = watch.status()
    assert status.slot
    assert status.slot.active
    brands = next(table for table in status.tables if table.table == "brands")
    assert (brands.lag, brands.dead_letters) == (0, 0)
    assert brands.rate
    assert brands.last_event
    (newest,) = chain.execute("select max(updated_at) from brands").fetchone() or (None,)
    assert abs((brands.last_event - newest).total_seconds()) < 5


def test_the_command_and_the_metrics_say_the_same(chain: Connection) -> None:
    chain.execute("insert into brands values (9999, 'N', now(), now())")
    wait_until_caught_up(60)
    command = [sys.executable, "-c", "from rainbow.cli import main; main()", "stream", "status"]
    told = json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True, cwd=PROJECT_ROOT).stdout)
    assert told["slot"]["active"]
    brands = next(table for table in told["tables"] if table["table"] == "brands")
    assert (brands["lag"], brands["dead_letters"]) == (0, 0)
    shown = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=PROJECT_ROOT, env={**os.environ, "COLUMNS": "80"}
    ).stdout
    assert len([line for line in shown.splitlines() if line.startswith(("brands", "orders "))]) == 2
    assert f"{brands['records']:,}" in shown
    assert len(shown.splitlines()) == 2 + len(told["tables"])
    port = Metrics().serve(0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
    assert lines["rainbow_stream_up"] == "1.0"
    assert lines['rainbow_stream_lag_records{table="brands",topic="rainbow.public.brands"}'] == "0.0"
    assert lines['rainbow_stream_dead_letters{table="brands",topic="rainbow.public.brands"}'] == "0.0"
    assert float(lines['rainbow_stream_last_event_timestamp_seconds{table="brands",topic="rainbow.public.brands"}']) > 1.7e9
    assert "rainbow_stream_slot_lag_bytes" in lines
    assert "rainbow_mirror_retries_total" in lines


def test_what_is_missing_is_said_when_it_does_not_catch_up(chain: Connection) -> None:
    chain.execute("insert into brands select n, 'N', now(), now() from generate_series(10000, 40000) n")
    with pytest.raises(ServiceError, match=r"capture is \d+ bytes behind|the mirror is \d+ records behind"):
        wait_until_caught_up(0)
    wait_until_caught_up(60)
