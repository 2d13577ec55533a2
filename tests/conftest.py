"""What all tests share: the local stack, one for each worker of pytest-xdist."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rainbow.settings import Settings, settings

os.environ["PLOOMBER_STATS_ENABLED"] = "false"


@pytest.fixture(scope="session")
def stack() -> Iterator[Settings]:
    """The settings of a running local stack in a folder of its own; it is stopped and removed after the last test."""
    from rainbow import stack as local

    with tempfile.TemporaryDirectory(prefix="rainbow-") as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("POSTGRES_URL", "BIGQUERY_URL", "CLICKHOUSE_URL", "LAKE_URL"):
            patch.delenv(f"RAINBOW_{name}", raising=False)
        patch.setenv("RAINBOW_HOME", str(Path(folder).resolve()))
        settings.cache_clear()
        try:
            local.up()
            yield settings()
        finally:
            local.down()
            patch.undo()
            settings.cache_clear()
