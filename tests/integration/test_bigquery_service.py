"""The local BigQuery stand-in: behind a password, used by Google's client, safe through kill -9."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.oauth2.credentials import Credentials

from rainbow.settings import Settings
from tests.integration.homes import Home, home

pytestmark = pytest.mark.services


def client(url: str) -> bigquery.Client:
    """Google's client as it comes, the password in the endpoint's URL."""
    return bigquery.Client("rainbow", credentials=AnonymousCredentials(), client_options={"api_endpoint": url})


@pytest.fixture(scope="module")
def own() -> Iterator[Home]:
    with home() as made:
        made.up("bigquery")
        yield made


def bare(url: str) -> str:
    return f"http://127.0.0.1:{urlsplit(url).port}"


def test_a_request_without_the_password_is_refused(stack: Settings) -> None:
    url = stack.url_of("bigquery")
    password = unquote(urlsplit(url).password or "")
    path = f"{bare(url)}/bigquery/v2/projects/rainbow/datasets"
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic bm9uc2Vuc2U="},
        {"Authorization": f"Digest {password}"},
    ):
        assert httpx.get(path, headers=headers).status_code == 401
    assert httpx.get(path, auth=("rainbow", "wrong")).status_code == 401
    assert httpx.post(f"{bare(url)}/bigquery/v2/projects/rainbow/queries", json={"query": "select 1"}).status_code == 401
    assert httpx.get(path, auth=("rainbow", password)).status_code == 200
    assert httpx.get(path, headers={"Authorization": f"Bearer {password}"}).status_code == 200


def test_only_the_health_page_is_open_and_there_is_no_other_port(own: Home) -> None:
    assert httpx.get(f"{bare(own.url('bigquery'))}/healthz").status_code == 200
    for path in ("/readyz", "/metrics", "/docs", "/openapi.json", "/admin/streams"):
        assert httpx.get(bare(own.url("bigquery")) + path).status_code == 401
    listening = [c.laddr.port for c in own.process("bigquery").net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening == [urlsplit(own.url("bigquery")).port]


def test_google_s_client_gets_in_with_the_url_alone_and_dbt_s_with_a_token(stack: Settings) -> None:
    url = stack.url_of("bigquery")
    assert [tuple(row) for row in client(url).query_and_wait("select 1 as a")] == [(1,)]
    token = Credentials(unquote(urlsplit(url).password or ""))
    with_token = bigquery.Client("rainbow", credentials=token, client_options={"api_endpoint": bare(url)})
    assert [tuple(row) for row in with_token.query_and_wait("select 2 as a")] == [(2,)]


@pytest.mark.parametrize("rows", [10, 1_000_000], ids=["in one request", "in chunks"])
def test_a_parquet_file_can_be_uploaded(own: Home, rows: int) -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"a": range(rows), "b": [str(i * 7919) for i in range(rows)]}), file)
    size, google = file.tell(), client(own.url("bigquery"))
    google.create_dataset("uploads", exists_ok=True)
    schema = [bigquery.SchemaField("a", "INT64"), bigquery.SchemaField("b", "STRING")]
    config = bigquery.LoadJobConfig(source_format="PARQUET", schema=schema, write_disposition="WRITE_TRUNCATE")
    google.load_table_from_file(file, "uploads.t", rewind=True, size=size, job_config=config).result()
    assert [tuple(row) for row in google.query_and_wait("select count(*) as n, max(a) as m from uploads.t")] == [(rows, rows - 1)]
    assert list((own.path / "stack" / "bigquery" / "data" / "uploads").iterdir()) == []


def test_the_address_of_an_upload_cannot_be_guessed(stack: Settings) -> None:
    path = "/upload/bigquery/v2/projects/rainbow/jobs?uploadType=resumable"
    assert httpx.post(bare(stack.url_of("bigquery")) + path, content=json.dumps({})).status_code == 401
    made_up = httpx.put(bare(stack.url_of("bigquery")) + f"{path}&upload_id={'0' * 32}", content=b"x")
    assert made_up.status_code in (404, 410)


def test_acknowledged_rows_are_there_after_kill_9_and_after_a_clean_restart(own: Home) -> None:
    google = client(own.url("bigquery"))
    google.create_dataset("kept", exists_ok=True)
    google.query_and_wait("create or replace table kept.written (a int64)")
    acknowledged: list[int] = []

    def write() -> None:
        for number in range(1_000_000):
            try:
                google.query_and_wait(f"insert into kept.written (a) values ({number})", retry=None, job_retry=None)
            except (GoogleAPIError, OSError):
                return
            acknowledged.append(number)

    writer = threading.Thread(target=write)
    writer.start()
    while len(acknowledged) < 20:
        threading.Event().wait(0.01)
    own.kill("bigquery")
    writer.join(60)
    assert own.states()["bigquery"] == "down"
    for _ in ("after the kill", "after a clean restart"):
        own.up("bigquery")
        rows = [row.a for row in client(own.url("bigquery")).query_and_wait("select a from kept.written order by a")]
        assert rows[: len(acknowledged)] == acknowledged
        assert len(rows) <= len(acknowledged) + 1
        own.down()


def test_a_failed_query_does_not_reach_the_log(own: Home) -> None:
    own.up("bigquery")
    with pytest.raises(GoogleAPIError):
        client(own.url("bigquery")).query_and_wait("select 'a-very-secret-word' from nosuch.table")
    assert "a-very-secret-word" not in (own.path / "stack" / "bigquery" / "log").read_text()


def test_a_cast_keeps_its_precision_when_a_view_is_read(stack: Settings) -> None:
    asked = client(stack.url_of("bigquery"))
    asked.create_dataset("precise", exists_ok=True)
    asked.query_and_wait("create or replace view precise.prices as select cast('10.5001' as numeric(18, 4)) as price")
    (row,) = asked.query_and_wait("select cast(cast(price as numeric(38, 9)) as string) as price from precise.prices")
    assert row.price == "10.500100000"
