"""The local ClickHouse process: what was acknowledged outlives kill -9, also under four writers that retry."""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from tests.integration.homes import home

pytestmark = pytest.mark.services

WRITERS, BATCHES, ROWS = 4, 40, 500


def connect(url: str) -> Any:
    parts = urlsplit(url)
    return clickhouse_connect.get_client(
        host=parts.hostname, port=parts.port, username=parts.username, password=unquote(parts.password or ""), autogenerate_session_id=False
    )


def write(url: str, writer: int) -> None:
    """Insert batches, each again with its token until it is acknowledged."""
    for batch in range(BATCHES):
        rows = [[writer, batch * ROWS + i] for i in range(ROWS)]
        for _ in range(100):
            try:
                connect(url).insert("written", rows, settings={"insert_deduplication_token": f"{writer}-{batch}"})
                break
            except (ClickHouseError, OSError):
                time.sleep(0.1)
        else:
            return


def test_retrying_writers_lose_and_double_nothing_through_kills() -> None:
    with home() as made:
        made.up("clickhouse")
        url = made.url("clickhouse")
        columns = "writer UInt8, a UInt32"
        connect(url).command(
            f"create table written ({columns}) engine = MergeTree order by (writer, a) settings non_replicated_deduplication_window = 1000"
        )
        writers = [threading.Thread(target=write, args=(url, writer)) for writer in range(WRITERS)]
        for writer in writers:
            writer.start()
        for _ in range(2):
            time.sleep(0.5)
            made.kill("clickhouse")
            made.up("clickhouse")
            assert made.url("clickhouse") == url
        for writer in writers:
            writer.join()
        counted = connect(url).query("select count(), uniqExact(writer, a) from written").result_rows
        assert counted == [(WRITERS * BATCHES * ROWS, WRITERS * BATCHES * ROWS)]


def test_a_query_at_work_does_not_hold_up_a_clean_stop() -> None:
    with home() as made:
        made.up("clickhouse")
        client = connect(made.url("clickhouse"))

        def query() -> None:
            with pytest.raises(ClickHouseError):
                client.query("select sum(sleepEachRow(1)) from numbers(60)")

        busy = threading.Thread(target=query)
        busy.start()
        time.sleep(0.5)
        began = time.monotonic()
        made.down()
        assert time.monotonic() - began < 20
        assert made.processes() == []
        busy.join()
