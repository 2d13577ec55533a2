"""What all tests share: the local stack, one for each worker of pytest-xdist, and how much a test does: little, or with --soak much."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings as laws

from rainbow.settings import Settings, settings
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
    if os.environ.get("CI") != "true" and not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
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

    with tempfile.TemporaryDirectory(prefix="rainbow-") as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("POSTGRES_URL", "BIGQUERY_URL", "CLICKHOUSE_URL", "LAKE_URL"):
            patch.delenv(f"RAINBOW_{name}", raising=False)
        home = Path(folder).resolve()
        keep(home)
        patch.setenv("RAINBOW_HOME", str(home))
        settings.cache_clear()
        try:
            local.up()
            yield settings()
        finally:
            local.down()
            patch.undo()
            settings.cache_clear()
