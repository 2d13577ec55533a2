"""The local PostgreSQL: configured for capture, safe through kill -9."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psutil
import psycopg
import pytest

from rainbow.settings import Settings
from tests.integration.homes import Home, home

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def own() -> Iterator[Home]:
    with home() as made:
        made.up("postgres")
        yield made


def test_it_is_postgresql_18_in_utf8_and_utc_with_checksums_and_logical_replication(stack: Settings) -> None:
    names = ["server_version_num", "wal_level", "server_encoding", "TimeZone", "data_checksums", "fsync", "synchronous_commit"]
    with psycopg.connect(stack.url_of("postgres")) as connection:
        values = [connection.execute("select current_setting(%s)", (name,)).fetchone() for name in names]
    version, *others = [value[0] for value in values if value]
    assert int(version) // 10_000 == 18
    assert others == ["logical", "UTF8", "UTC", "on", "on", "on"]


def test_a_wrong_password_is_refused_for_queries_and_for_replication(stack: Settings) -> None:
    wrong = stack.url_of("postgres").replace("rainbow:", "rainbow:x", 1)
    for url in (wrong, f"{wrong}?replication=database"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url)


def test_an_end_of_the_log_can_be_read_with_pgoutput(own: Home) -> None:
    with psycopg.connect(own.url("postgres"), autocommit=True) as connection:
        connection.execute("create table watched (a int primary key)")
        connection.execute("create publication p for table watched")
        connection.execute("select pg_create_logical_replication_slot('s', 'pgoutput')")
        connection.execute("insert into watched values (1)")
        changes = connection.execute(
            "select count(*) from pg_logical_slot_peek_binary_changes('s', null, null, 'proto_version', '1', 'publication_names', 'p')"
        ).fetchone()
    assert changes is not None
    assert changes[0] >= 3


def test_acknowledged_rows_and_slots_are_there_after_kill_9(own: Home) -> None:
    acknowledged: list[int] = []
    with psycopg.connect(own.url("postgres"), autocommit=True) as connection:
        connection.execute("create table written (a int)")
        connection.execute("select pg_create_logical_replication_slot('kept', 'pgoutput')")

    def write() -> None:
        with psycopg.connect(own.url("postgres"), autocommit=True) as connection:
            for number in range(1_000_000):
                try:
                    connection.execute("insert into written values (%s)", (number,))
                except psycopg.OperationalError:
                    return
                acknowledged.append(number)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while len(acknowledged) < 500:
        threading.Event().wait(0.01)
    own.kill("postgres")
    for writer in writers:
        writer.join()
    assert own.states()["postgres"] == "down"
    own.up("postgres")
    with psycopg.connect(own.url("postgres")) as connection:
        rows = [row[0] for row in connection.execute("select a from written").fetchall()]
        slot = connection.execute("select count(*) from pg_replication_slots where slot_name = 'kept'").fetchone()
    for number in set(acknowledged):
        assert rows.count(number) >= acknowledged.count(number)
    assert slot == (1,)


def test_a_lock_file_with_another_program_s_process_id_does_not_stop_the_start(own: Home) -> None:
    own.down()
    lock = own.path / "stack" / "postgres" / "data" / "postmaster.pid"
    lock.write_text(f"{psutil.Process().pid}\n/proc/self/cwd\n1\n1\n\n127.0.0.1\n\nready\n")
    own.up("postgres")
    assert own.states()["postgres"] == "up"


def test_a_password_that_was_lost_is_replaced(own: Home) -> None:
    own.down()
    (own.path / "stack" / "postgres" / "password").unlink()
    own.up("postgres")
    assert own.states()["postgres"] == "up"


def test_an_interrupted_first_start_leaves_nothing_half_made() -> None:
    with home() as made:
        draft = made.path / "stack" / "postgres" / "data.new"
        (draft / "base").mkdir(parents=True)
        (draft / "PG_VERSION").write_text("18\n")
        made.up("postgres")
        assert made.states()["postgres"] == "up"
        assert not draft.exists()
