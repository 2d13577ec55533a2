"""What integration tests share: databases of their own, in the stack's PostgreSQL."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from rainbow.lake.files import Lake
from rainbow.settings import Settings, settings


@contextmanager
def new_database(server: str) -> Iterator[str]:
    """The URL of an empty database on the server of this URL; it is dropped at the end."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"create database {name} template template0")
        try:
            yield urlsplit(server)._replace(path=f"/{name}").geturl()
        finally:
            admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(stack: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty database, which the settings name while the test runs."""
    with new_database(stack.url_of("postgres")) as url:
        monkeypatch.setenv("RAINBOW_POSTGRES_URL", url)
        settings.cache_clear()
        yield url
        monkeypatch.undo()
        settings.cache_clear()


@pytest.fixture
def shop(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to that database."""
    from rainbow.source.connection import connect

    with connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def made_database(stack: Settings) -> Iterator[str]:
    """The URL of a database with the schema and no rows, shared by a module's tests that commit nothing."""
    from rainbow.source.schema import create_schema

    with new_database(stack.url_of("postgres")) as url:
        with psycopg.connect(url) as connection:
            create_schema(connection)
        yield url


@pytest.fixture
def small_shop(database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that commits each statement, to a database of its own with the schema and no rows."""
    from rainbow.source.connection import connect
    from rainbow.source.schema import create_schema

    with connect(autocommit=True) as connection:
        with connection.transaction():
            create_schema(connection)
        yield connection


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """An empty lake, which the settings name while the test runs."""
    monkeypatch.setenv("RAINBOW_LAKE_URL", f"file://{tmp_path}/lake")
    settings.cache_clear()
    yield Lake()
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def warehouse(made_warehouse: Any) -> Any:
    """The same client; raw, staging and the warehouse are empty."""
    from tests.integration.history import forget

    forget(made_warehouse, "raw", "staging", "warehouse")
    return made_warehouse


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
