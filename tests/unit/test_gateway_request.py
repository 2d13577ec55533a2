"""How a request is read: `rainbow.stack.gateway.request`."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rainbow.stack.gateway import request
from rainbow.stack.gateway.errors import EngineError


def test_credentials_come_in_three_ways_and_headers_win() -> None:
    basic = {"authorization": "Basic " + base64.b64encode(b"user:pass:word").decode()}
    own = {"x-clickhouse-user": "header", "x-clickhouse-key": "key"}
    parameters = {"user": "parameter", "password": "p"}
    assert request.credentials(basic | own, parameters) == ("header", "key")
    assert request.credentials(basic, parameters) == ("user", "pass:word")
    assert request.credentials({}, parameters) == ("parameter", "p")
    assert request.credentials({}, {"password": "p"}) == ("default", "p")
    assert request.credentials({}, {}) is None
    assert request.credentials({"authorization": "Basic ???"}, {}) == ("", "")


def test_what_is_not_for_the_interface_is_a_setting() -> None:
    query = request.read("POST", {}, {"query": "select 1", "max_threads": "2", "param_x": "3", "session_timeout": "5", "database": "d"})
    assert (query.settings, query.parameters, query.database, query.session_timeout) == ({"max_threads": "2"}, {"x": "3"}, "d", 5.0)


@pytest.mark.parametrize(("method", "readonly"), [("GET", "2"), ("HEAD", "2"), ("POST", None)])
def test_a_get_request_is_readonly(method: str, readonly: str | None) -> None:
    assert request.read(method, {}, {"query": "select 1"}).settings.get("readonly") == readonly
    assert request.read(method, {}, {"readonly": "1"}).settings["readonly"] == "1"


def test_a_parameter_cannot_change_the_statement_that_sets_it() -> None:
    with pytest.raises(EngineError, match="BAD_ARGUMENTS"):
        request.read("POST", {}, {"param_x = 1, readonly": "0"})


@given(st.binary(max_size=300).filter(lambda data: b"--edge" not in data))
def test_a_file_in_a_form_arrives_byte_for_byte(data: bytes) -> None:
    body = (
        b'--edge\r\nContent-Disposition: form-data; name="query"\r\n\r\nselect 1\r\n'
        b'--edge\r\nContent-Disposition: form-data; name="t"; filename="t.csv"\r\nContent-Type: text/csv\r\n\r\n'
        + data
        + b"\r\n--edge--\r\n"
    )
    assert request.form("multipart/form-data; boundary=edge", [body[:50], body[50:]], 10_000) == ({"query": "select 1"}, {"t": data})


def test_a_form_is_bounded() -> None:
    with pytest.raises(EngineError, match="TOO_MANY_BYTES"):
        request.form("multipart/form-data; boundary=edge", [b"x" * 100] * 100, 1000)
