"""The ClickHouse process speaks ClickHouse's HTTP interface: each test runs against it and against ClickHouse's own listener."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import time
import uuid
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import httpx
import lz4.frame
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from backports import zstd
from clickhouse_connect.driver.exceptions import DatabaseError
from clickhouse_connect.driver.external import ExternalData

from rainbow.settings import Settings
from tests.integration import clickhouse_listener

pytestmark = pytest.mark.services

http = httpx.Client(timeout=60)


@dataclass(frozen=True)
class Server:
    """A server under test, and a database of the test's own."""

    url: str
    database: str

    def client(self, **options: Any) -> Any:
        return clickhouse_connect.get_client(**self.options(), **{"autogenerate_session_id": False, **options})

    def options(self) -> dict[str, Any]:
        parts = urlsplit(self.url)
        return {
            "host": parts.hostname,
            "port": parts.port,
            "username": parts.username,
            "password": unquote(parts.password or ""),
            "database": self.database,
        }

    def post(self, body: bytes | str = b"", *, headers: dict[str, str] | None = None, **parameters: str) -> httpx.Response:
        return http.post(self.url, params={"database": self.database, **parameters}, content=body, headers=headers)

    def get(self, **parameters: str) -> httpx.Response:
        return http.get(self.url, params={"database": self.database, **parameters})


@pytest.fixture(scope="session")
def gateway_url(stack: Settings) -> str:
    return stack.url_of("clickhouse")


@pytest.fixture(scope="session")
def listener_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := clickhouse_listener.missing():
        pytest.skip(reason)
    with clickhouse_listener.listening(tmp_path_factory.mktemp("clickhouse")) as url:
        yield url


@pytest.fixture(params=["gateway", "listener"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    url = request.getfixturevalue(f"{request.param}_url")
    under_test = Server(url, f"test_{uuid.uuid4().hex[:12]}")
    http.post(url, content=f"create database {under_test.database}").raise_for_status()
    yield under_test
    http.post(url, content=f"drop database {under_test.database}").raise_for_status()


@pytest.fixture
def numbers(server: Server) -> Server:
    """The server, with a table ``numbers (a Int64, b String)``."""
    server.post("create table numbers (a Int64, b String) engine = MergeTree order by a").raise_for_status()
    return server


def rows(server: Server, table: str = "numbers") -> str:
    return server.post(f"select * from {table} order by all").text


def test_ping_and_the_root_say_ok(server: Server) -> None:
    for path in ("/ping", "/"):
        assert http.get(server.url + path).text == "Ok.\n"


def test_a_path_that_is_none_is_not_found(server: Server) -> None:
    assert http.get(f"{server.url}/nothing").status_code == 404


def test_a_query_comes_in_the_address_in_the_body_or_in_both(server: Server) -> None:
    assert server.get(query="select 1").text == "1\n"
    assert server.post("select 1").text == "1\n"
    assert server.post("+ 1", query="select 1").text == "2\n"


def test_settings_come_as_parameters(server: Server) -> None:
    assert server.post("select getSetting('max_threads')", max_threads="3").text == "3\n"


def test_settings_of_a_request_end_with_it(server: Server) -> None:
    before = server.post("select getSetting('max_block_size')").text
    server.post("select 1", max_block_size="77")
    assert server.post("select getSetting('max_block_size')").text == before


@pytest.mark.parametrize("value", ["plain", "it's", "tab\there", "line\nend", "back\\slash", 'quote"s', "ế 字 🌈", ""])
def test_a_parameter_of_the_query_arrives_as_it_is(server: Server, value: str) -> None:
    assert server.client().query("select {x:String}", parameters={"x": value}).result_rows == [(value,)]


def test_parameters_have_types(server: Server) -> None:
    answer = server.post("select {a:Array(Int32)}, {d:Date}, {n:Nullable(String)}", param_a="[1,2]", param_d="2024-09-01", param_n="\\N")
    assert answer.text == "[1,2]\t2024-09-01\t\\N\n"


def test_the_format_of_the_query_wins_over_the_default(server: Server) -> None:
    named = server.post("select 1 as a format JSONEachRow", default_format="CSV")
    default = server.post("select 1 as a", default_format="CSVWithNames")
    by_header = server.post("select 1 as a", headers={"X-ClickHouse-Format": "JSONEachRow"})
    assert (named.text, named.headers["X-ClickHouse-Format"]) == ('{"a":1}\n', "JSONEachRow")
    assert (default.text, default.headers["X-ClickHouse-Format"]) == ('"a"\n1\n', "CSVWithNames")
    assert by_header.text == '{"a":1}\n'


@pytest.mark.parametrize(
    "name",
    [
        "TSV",
        "TSVWithNames",
        "CSV",
        "CSVWithNames",
        "JSONEachRow",
        "JSONCompact",
        "Native",
        "RowBinary",
        "Values",
        "Vertical",
        "Markdown",
        "PrettyCompact",
    ],
)
def test_formats_are_written_by_the_engine(server: Server, name: str) -> None:
    query = "select number as a, toString(number) as b, number / 7 as c from numbers(3) order by a"
    answer = server.post(f"{query} format {name}", output_format_write_statistics="0")
    assert answer.headers["X-ClickHouse-Format"] == name
    assert len(answer.content) > 6
    if name == "JSONEachRow":
        assert [json.loads(line)["b"] for line in answer.text.splitlines()] == ["0", "1", "2"]


def test_many_blocks_are_one_file_in_every_format(server: Server) -> None:
    query, parameters = "select number as a from numbers(200000)", {"max_block_size": "10000", "output_format_write_statistics": "0"}
    assert len(server.post(f"{query} format CSVWithNames", **parameters).text.splitlines()) == 200_001
    assert server.post(f"{query} format JSON", **parameters).json()["rows"] == 200_000
    assert pa.ipc.open_stream(server.post(f"{query} format ArrowStream", **parameters).content).read_all().num_rows == 200_000
    assert pa.ipc.open_file(server.post(f"{query} format Arrow", **parameters).content).read_all().num_rows == 200_000
    assert pq.read_table(io.BytesIO(server.post(f"{query} format Parquet", **parameters).content)).num_rows == 200_000


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("select", {}),
        ("selec 1", {}),
        ("select nope", {}),
        ("select * from nope", {}),
        ("select nope(1)", {}),
        ("select 1 format Nope", {}),
        ("select 1; select 2", {}),
        ("select 1 into outfile '/tmp/rainbow-never-written'", {}),
        ("select toInt32('x')", {}),
        ("select throwIf(1)", {}),
        ("select {x:Int32}", {}),
        ("select {x:Int32}", {"param_x": "one"}),
        ("select 1", {"no_such_setting": "1"}),
        ("select 1", {"max_threads": "many"}),
        ("select 1", {"database": "no_such_database"}),
        ("select 1", {"session_id": "none", "session_check": "1"}),
        ("create table a (b Nope) engine = Memory", {}),
        ("create table a (b Int32) engine = Nope", {}),
        ("drop table nope", {}),
        ("insert into nope values (1)", {}),
        ("insert into numbers values (1)", {}),
        ("insert into numbers format CSV\nx,y\n", {}),
        ("insert into numbers (nope) values (1)", {}),
        ("insert into numbers values (1, 'a')", {"readonly": "1"}),
        ("create table a (b Int32) engine = Memory", {"readonly": "1"}),
        ("set max_threads = 1", {"readonly": "1"}),
        ("select sleep(1)", {"max_execution_time": "0.2"}),
        ("", {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_errors_have_their_code_and_status(numbers: Server, listener_url: str, statement: str, parameters: dict[str, str]) -> None:
    """What is right is what ClickHouse's own listener says; against itself this test shows that all of these are errors."""
    answer = numbers.post(statement, **parameters)
    code = answer.headers["X-ClickHouse-Exception-Code"]
    assert answer.status_code >= 400
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    if numbers.url != listener_url:
        own = Server(listener_url, numbers.database)
        own.post("", query=f"create database {numbers.database}", database="default")
        own.post("create table numbers (a Int64, b String) engine = MergeTree order by a")
        theirs = own.post(statement, **parameters)
        own.post("", query=f"drop database {numbers.database}", database="default")
        assert (answer.status_code, code) == (theirs.status_code, theirs.headers["X-ClickHouse-Exception-Code"])


@pytest.mark.parametrize(
    "statement",
    [
        "show tables",
        "describe table numbers",
        "exists numbers",
        "explain select 1",
        "check table numbers",
        "with 1 as x select x",
        "(select 1)",
        "select 1 union all select 1",
        "set max_threads = 1",
        "system flush logs",
    ],
)
def test_statements_of_every_kind_are_answered(numbers: Server, statement: str) -> None:
    answer = numbers.post(statement)
    assert (answer.status_code, "Exception" in answer.text) == (200, False)


def test_a_get_request_only_reads(numbers: Server) -> None:
    answer = numbers.get(query="insert into numbers values (1, 'a')")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    assert rows(numbers) == ""


def test_a_readonly_request_inserts_nothing(numbers: Server) -> None:
    answer = numbers.post("1,a\n", query="insert into numbers format CSV", readonly="1")
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    assert rows(numbers) == ""


def test_a_readonly_request_in_a_session_inserts_nothing_and_the_next_one_may(numbers: Server) -> None:
    session = uuid.uuid4().hex
    refused = numbers.post("insert into numbers values (1, 'a')", session_id=session, readonly="1")
    assert refused.headers["X-ClickHouse-Exception-Code"] == "164"
    assert numbers.post("insert into numbers values (2, 'b')", session_id=session).status_code == 200
    assert rows(numbers) == "2\tb\n"


@pytest.mark.parametrize(
    ("query", "data"),
    [
        ("insert into numbers format CSV", '1,"a"\n2,"b, c"\n'),
        ("insert into numbers (b, a) format TSV", "a\t1\nb, c\t2\n"),
        ("insert into numbers values", "(1, 'a'), (2, 'b, c')"),
        ("insert into numbers format JSONEachRow", '{"a": 1, "b": "a"}\n{"a": 2, "b": "b, c"}'),
        ("", "insert into numbers values (1, 'a'), (2, 'b, c')"),
        ("", 'insert into numbers /* format TSV */ format CSV\n1,a\n2,"b, c"\n'),
        ("", 'insert into numbers settings max_threads = 1 format JSONEachRow\n{"a": 1, "b": "a"}\n{"a": 2, "b": "b, c"}'),
        ("insert into numbers", "select 1, 'a' union all select 2, 'b, c'"),
        ("", "insert into numbers select * from values((1, 'a'), (2, 'b, c'))"),
        ("", "-- a comment\ninsert into numbers\nvalues\n(1, 'a'),\n(2, 'b, c')\n"),
    ],
)
def test_an_insert_takes_its_data_from_the_body(numbers: Server, query: str, data: str) -> None:
    numbers.post(data, **({"query": query} if query else {})).raise_for_status()
    assert rows(numbers) == "1\ta\n2\tb, c\n"


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstd.compress), ("lz4", lz4.frame.compress)],
)
def test_a_compressed_body_is_decompressed(numbers: Server, encoding: str, compress: Any) -> None:
    data = "".join(f"{i},{'x' * (i % 50)}\n" for i in range(100_000)).encode()
    headers = {"Content-Encoding": encoding}
    numbers.post(compress(data), query="insert into numbers format CSV", headers=headers).raise_for_status()
    assert numbers.post("select count(), sum(a), sum(length(b)) from numbers").text == "100000\t4999950000\t2450000\n"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd", "lz4"])
def test_an_answer_is_compressed_when_the_client_asks(server: Server, encoding: str) -> None:
    client = server.client(compress=encoding)
    assert client.query("select number from numbers(100000)").result_columns[0][-1] == 99_999
    with client.query_row_block_stream("select number from numbers(100000)") as stream:
        assert sum(len(block) for block in stream) == 100_000


def test_a_body_that_is_cut_short_inserts_nothing(numbers: Server) -> None:
    data = gzip.compress(b"1,a\n" * 1000)[:-20]
    answer = numbers.post(data, query="insert into numbers format CSV", headers={"Content-Encoding": "gzip"})
    assert answer.status_code >= 400
    assert rows(numbers) == ""


def test_a_bad_row_inserts_nothing(numbers: Server) -> None:
    assert numbers.post("1,a\nx,b\n", query="insert into numbers format CSV").status_code == 400
    assert rows(numbers) == ""


def test_the_summary_counts_what_was_written(numbers: Server) -> None:
    answer = numbers.post("1,a\n2,b\n", query="insert into numbers format CSV")
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert numbers.client().insert("numbers", [[3, "c"]]).written_rows == 1


def test_the_query_id_is_told_back(server: Server) -> None:
    assert server.post("select 1", query_id="mine").headers["X-ClickHouse-Query-Id"] == "mine"


def test_a_session_keeps_settings_and_temporary_tables(server: Server) -> None:
    session = {"session_id": uuid.uuid4().hex}
    server.post("create temporary table kept (a Int32)", **session).raise_for_status()
    server.post("insert into kept values (7)", **session).raise_for_status()
    server.post("set max_block_size = 123", **session).raise_for_status()
    assert server.post("select a, getSetting('max_block_size') from kept", **session).text == "7\t123\n"
    assert server.post("select * from kept").headers["X-ClickHouse-Exception-Code"] == "60"


def test_settings_of_a_request_do_not_stay_in_its_session(server: Server) -> None:
    session = {"session_id": uuid.uuid4().hex}
    server.post("set max_block_size = 123", **session).raise_for_status()
    assert server.post("select getSetting('max_block_size')", **session, max_block_size="456").text == "456\n"
    assert server.post("select getSetting('max_block_size')", **session).text == "123\n"


def test_a_session_does_one_thing_at_a_time(server: Server) -> None:
    session = {"session_id": uuid.uuid4().hex}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: server.post("select sleep(0.5)", **session), range(4)))
    codes = [answer.headers.get("X-ClickHouse-Exception-Code") for answer in answers]
    assert codes.count(None) >= 1
    assert {code for code in codes if code} == {"373"}


def test_an_idle_session_is_forgotten(server: Server) -> None:
    session = {"session_id": uuid.uuid4().hex, "session_timeout": "1"}
    server.post("create temporary table kept (a Int32)", **session).raise_for_status()
    time.sleep(3)
    assert server.post("select * from kept", **session).headers["X-ClickHouse-Exception-Code"] == "60"


def test_requests_of_many_clients_run_at_the_same_time(server: Server) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: server.post(f"select sleep(0.5), {i}").text, range(8)))
    assert answers == [f"0\t{i}\n" for i in range(8)]
    assert time.monotonic() - began < 2


def test_a_failure_in_mid_answer_reaches_the_client(server: Server) -> None:
    client = server.client()
    query = "select throwIf(number = 150000) from numbers(200000) settings max_block_size = 10000"
    with pytest.raises(Exception, match="throwIf"), client.query_row_block_stream(query) as stream:
        for _ in stream:
            pass


def test_an_insert_is_written_once_for_a_token(server: Server) -> None:
    server.post("create table once (a Int64) engine = MergeTree order by a settings non_replicated_deduplication_window = 100")
    client = server.client()
    for token, value in (("one", 1), ("one", 1), ("two", 1)):
        client.insert("once", [[value]], settings={"insert_deduplication_token": token})
    assert client.command("select count() from once") == 2


def test_the_client_reads_and_writes_rows_frames_and_arrow(numbers: Server) -> None:
    client = numbers.client()
    client.insert("numbers", [[1, "một"], [2, None or ""]], column_names=["a", "b"])
    client.insert_df("numbers", pd.DataFrame({"a": [3], "b": ["df"]}))
    client.insert_arrow("numbers", pa.table({"a": [4], "b": ["arrow"]}))
    client.raw_insert("numbers", ["a", "b"], b"5,raw\n", fmt="CSV")
    expected = [(1, "một"), (2, ""), (3, "df"), (4, "arrow"), (5, "raw")]
    query = "select * from numbers order by a"
    assert client.query(query).result_rows == expected
    assert list(client.query_df(query).itertuples(index=False, name=None)) == expected
    assert client.query_arrow(query, use_strings=True).to_pydict()["b"] == [b for _, b in expected]
    with client.query_arrow_stream(query, use_strings=True) as batches:
        assert sum(batch.num_rows for batch in batches) == 5
    assert client.raw_query(query, fmt="CSV").splitlines()[0] == '1,"một"'.encode()
    assert client.command("select count() from numbers") == 5
    assert client.query(f"{query} limit 0").column_names == ("a", "b")


def test_types_survive_the_way_there_and_back(server: Server) -> None:
    client = server.client()
    columns = (
        "d Decimal(38, 10), t DateTime64(6, 'UTC'), l LowCardinality(String), n Nullable(Int32), a Array(String), m Map(String, Int32)"
    )
    client.command(f"create table types ({columns}) engine = Memory")
    row = (Decimal("12345678901234567890.0123456789"), datetime(2024, 9, 1, 1, 2, 3, 456789, tzinfo=UTC), "l", None, ["x", "y"], {"k": 1})
    client.insert("types", [row])
    assert client.query("select * from types", query_tz="UTC", tz_mode="aware").result_rows == [row]


def test_tables_can_come_with_a_query(server: Server) -> None:
    external = ExternalData(file_name="more.csv", data=b"1,one\n2,two\n", fmt="CSV", structure=["a Int32", "b String"])
    client = server.client()
    assert client.query("select b from more order by a", external_data=external).result_rows == [("one",), ("two",)]
    formed = server.client(form_encode_query_params=True)
    answer = formed.query("select b, {x:String} from more order by a", parameters={"x": "p"}, external_data=external)
    assert answer.result_rows == [("one", "p"), ("two", "p")]


def test_the_client_works_asynchronously(numbers: Server) -> None:
    async def work() -> list[Any]:
        client = await clickhouse_connect.get_async_client(**numbers.options(), autogenerate_session_id=False)
        await client.insert("numbers", [[1, "a"]])
        await asyncio.gather(*(client.insert("numbers", [[i, "b"]]) for i in range(2, 10)))
        answers = await asyncio.gather(*(client.query(f"select {i}, count() from numbers") for i in range(10)))
        await client.close()
        return [answer.result_rows for answer in answers]

    assert asyncio.run(work()) == [[(i, 9)] for i in range(10)]


def test_sqlalchemy_works(numbers: Server) -> None:
    url = numbers.url.replace("http://", "clickhousedb://")
    engine = sa.create_engine(f"{url}/{numbers.database}")
    with engine.begin() as connection:
        connection.execute(sa.text("insert into numbers values (1, 'a')"))
        assert connection.execute(sa.text("select a, b from numbers where a = :a"), {"a": 1}).fetchall() == [(1, "a")]
        assert [column["name"] for column in sa.inspect(connection).get_columns("numbers")] == ["a", "b"]
    engine.dispose()


def test_a_wrong_user_or_password_is_refused_however_it_is_given(server: Server) -> None:
    bare = f"http://127.0.0.1:{urlsplit(server.url).port}"
    # the embedded engine's own listener has a default user without a password
    wrong = [("default", "wrong"), ("default", "")] if urlsplit(server.url).password else []
    for user, password in [("nobody", "wrong"), *wrong]:
        for given in (
            {"auth": (user, password)},
            {"headers": {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}},
            {"params": {"user": user, "password": password}},
        ):
            answer = http.post(bare, content="select 1", **given)
            assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
        with pytest.raises(DatabaseError, match="516"):
            clickhouse_connect.get_client(**{**server.options(), "username": user, "password": password})


def test_the_right_password_is_taken_however_it_is_given(server: Server) -> None:
    parts = urlsplit(server.url)
    bare, password = f"http://127.0.0.1:{parts.port}", unquote(parts.password or "")
    for given in (
        {"auth": ("default", password)},
        {"headers": {"X-ClickHouse-User": "default", "X-ClickHouse-Key": password}},
        {"params": {"user": "default", "password": password}},
    ):
        assert http.post(bare, content="select 1", **given).text == "1\n"


def test_without_a_password_nobody_gets_in(gateway_url: str) -> None:
    answer = http.post(f"http://127.0.0.1:{urlsplit(gateway_url).port}", content="select 1")
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (401, "516")


def test_a_statement_is_bounded_and_the_data_of_an_insert_are_not(gateway_url: str) -> None:
    gateway = Server(gateway_url, "default")
    assert gateway.post(b"select 1 --" + b"x" * (17 * 2**20)).status_code == 413
    answer = gateway.post(b"1,xxxxxxxxxxxx\n" * 2_000_000, query="insert into function null('a Int64, b String') format CSV")
    assert (answer.status_code, json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"]) == (200, "2000000")


def test_a_client_that_goes_away_ends_its_query(gateway_url: str) -> None:
    gateway = Server(gateway_url, "default")
    marker = uuid.uuid4().hex
    query = f"select number, '{marker}' from numbers(100000000000) format CSV"
    with http.stream("POST", gateway_url, content=query) as answer:
        next(answer.iter_raw())
    running = f"select count() from system.processes where query like '%{marker}%' and query not like '%processes%'"
    deadline = time.monotonic() + 10
    while (left := gateway.post(running).text) != "0\n" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == "0\n"
