"""What all tests share: the local stack, one for each worker of pytest-xdist, and how much a test does: little, or with --soak much."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as laws
from platformdirs import user_cache_path

from rainbow.reports.pdf import chromium
from rainbow.settings import ENDPOINTS, Settings, settings
from tests.stack_keeper import keep

os.environ["PLOOMBER_STATS_ENABLED"] = "false"

# two workers on two busy cores: an example that takes long says nothing
laws.register_profile("test", deadline=None)
laws.register_profile("soak", deadline=None, max_examples=2000)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="larger numbers, and the tests marked soak")


def pytest_configure(config: pytest.Config) -> None:
    laws.load_profile("soak" if config.getoption("--soak") else "test")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--soak"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("soak")])
        items[:] = [item for item in items if not item.get_closest_marker("soak")]
    else:
        for item in items:
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(3600))
    if os.environ.get("CI") != "true" and chromium() is None:
        # marked here and not skipped in a fixture: pytest's summary then has one line for a file of them
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason="no browser: apt-get install chromium"))


@pytest.fixture(scope="session")
def sized(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """``sized(10, 500)``: the first number in a test, the second in `make soak`."""
    soak: bool = request.config.getoption("--soak")
    return lambda little, much: much if soak else little


@pytest.fixture(scope="session")
def stack() -> Iterator[Settings]:
    """The settings of a running local stack in a folder of its own; it is stopped and removed after the last test."""
    from rainbow import stack as local

    with _folder() as home, _settings_of(home):
        try:
            local.up()
            yield settings()
        finally:
            local.down()


@pytest.fixture(scope="session")
def made_warehouse(stack: Settings) -> Any:
    """A BigQuery client for a warehouse that dbt has made once, for all tests of this process."""
    from rainbow.warehouse.client import connect
    from rainbow.warehouse.load import prepare
    from rainbow.warehouse.transform import transform

    client = connect()
    prepare(client)
    transform(client=client)
    return client


@pytest.fixture(scope="module")
def stream_stack(stream_home: dict[str, str]) -> Iterator[Settings]:
    """The settings of a running PostgreSQL, ClickHouse and Kafka (one broker); for the tests of a file they are those of the process."""
    with _settings_of(**stream_home):
        yield settings()


@pytest.fixture(scope="session")
def stream_home(kafka_jars: Path) -> Iterator[dict[str, str]]:
    """The settings that lead to the stack of `stream_stack`, which runs until the last test; another one than ``stack``'s."""
    from rainbow import stack as local

    with _folder() as home:
        named = {"home": str(home), "kafka_jars": str(kafka_jars)}
        try:
            with _settings_of(**named):
                local.up(["postgres", "clickhouse", "kafka"])
            yield named
        finally:
            with _settings_of(**named):
                local.down()


@pytest.fixture(scope="session")
def kafka_jars() -> Path:
    """A folder with Kafka's jars, fetched once for this user and kept for the next test runs."""
    from rainbow.stack import kafka_jars

    folder = user_cache_path("rainbow-workbench") / f"kafka-{kafka_jars.VERSION}"
    kafka_jars.fetch(folder)
    return folder


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for a stack, which is stopped and removed even if this process is killed."""
    with tempfile.TemporaryDirectory(prefix="rainbow-") as folder:
        home = Path(folder).resolve()
        keep(home)
        yield home


@contextmanager
def _settings_of(home: Path | str, **named: str) -> Iterator[None]:
    """Let the settings be those of this RAINBOW_HOME; endpoints that the environment names are forgotten meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for field in (*ENDPOINTS.values(), "lake_url"):
            patch.delenv(f"RAINBOW_{field.upper()}", raising=False)
        for field, value in {"home": str(home), **named}.items():
            patch.setenv(f"RAINBOW_{field.upper()}", value)
        settings.cache_clear()
        try:
            yield
        finally:
            patch.undo()
            settings.cache_clear()
