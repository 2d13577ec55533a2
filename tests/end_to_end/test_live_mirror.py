"""The mirror's notebook runs from top to bottom: orders are posted, seen in the unified view, and equal to PostgreSQL's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rainbow.settings import PROJECT_ROOT, Settings
from rainbow.source.tables import TABLES
from tests.integration.unfollowed_shop import unfollowed_shop

pytestmark = pytest.mark.services

ORDERS = 5


@pytest.fixture
def shop(stream_stack: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A shop whose changes nobody has followed yet."""
    with unfollowed_shop() as connection:
        yield connection


def test_the_notebook_sells_sees_and_proves(shop: psycopg.Connection[Any], tmp_path: Path) -> None:
    from ploomber_engine import execute_notebook

    from streaming import live

    out = tmp_path / "mirror.ipynb"
    try:
        notebook = execute_notebook(
            PROJECT_ROOT / "notebooks" / "streaming" / "mirror.ipynb", out, parameters={"orders": ORDERS}, progress_bar=False
        )
    finally:
        live.stop_all()
    shown = [
        "".join(output["data"]["text/html"])
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "dataframe" in "".join(output.get("data", {}).get("text/html", ""))
    ]
    assert shop.execute("select count(*) from orders").fetchone() == (ORDERS,)
    lag, sold, events, proof = (cells_of(html) for html in shown)
    assert len(lag) == len(TABLES)
    assert [row[0] for row in sold] == [str(n) for n in range(1, ORDERS + 1)]
    assert {("orders", "insert"), ("orderdetails", "insert"), ("products", "update")} <= {(row[1], row[2]) for row in events}
    source, view, differing = proof
    assert source[1] == view[1] == f"{ORDERS}.0"
    assert source[3:] == view[3:]
    assert differing[2] == "0.0"
    assert shop.execute("select count(*) from pg_replication_slots where active").fetchone() == (0,)


def cells_of(html: str) -> list[list[str]]:
    """A data frame's rows, as its HTML has them."""
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", html, flags=re.DOTALL) if "<td>" in row]
