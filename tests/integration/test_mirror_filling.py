"""The mirror's kept tables are filled from its histories, however many mirrors do so at a time and wherever one is killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rainbow.olap.client import connect
from rainbow.olap.mirror.kept import FILLED, KEPT, create_all
from rainbow.olap.serving.forms import look, mirror_began
from rainbow.source.tables import TABLES
from tests.integration.small_shop import DAY_1, DAY_2, DAY_3, at
from tests.integration.test_mirror_days import arrive, line, order, version
from tests.integration.test_mirror_days import mirror as mirror

pytestmark = pytest.mark.services

FILLING = ("orders_to_days", "orderdetails_to_days", "products_to_placements")

# what their rows say, but when it was noted, and what may be said twice
CONTENT = {
    "_days": "select day, quarter, max(newest_txid), min(first_updated_at), max(last_updated_at), max(last_deleted_at) from mirror._days group by all",
    "_renamed": "select table, id, name, lsn from mirror._renamed final",
    "_appeared": "select table, id, txid from mirror._appeared final",
    "_restated": "select distinct product_id, from_at, until_at from mirror._restated",
}


def content(client: Any) -> dict[str, set[Any]]:
    return {name: set(client.query(CONTENT.get(name, f"select * from mirror.{name} final")).result_rows) for name in KEPT}


@pytest.fixture
def kept(mirror: Any) -> dict[str, set[Any]]:
    """What the kept tables have, of histories with something for each of them; the tables are not there any more."""
    arrive(
        mirror,
        version("products", 1, DAY_1, 700, _snapshot=1),
        *(version("products", 1, DAY_1, 701 + n, updated_at=at(DAY_2, n), category_id=n, name=f"Name {n}") for n in range(3)),
        version("products", 2, DAY_1, 705),
        *(order(DAY_1, 710), line(DAY_1, 711), line(DAY_3, 712, 2), order(DAY_2, 713, 2), line(DAY_2, 714, 3, order_id=2)),
    )
    drop(mirror)
    create_all(mirror, TABLES)
    made = content(mirror)
    assert all(made.values())
    drop(mirror)
    return made


def drop(client: Any) -> None:
    for name in (*FILLING, *KEPT):
        client.command(f"drop table mirror.{name} sync")


class KilledError(Exception):
    """Where a client was killed."""


class Killed:
    """A client that is killed after so many calls."""

    def __init__(self, client: Any, calls: int) -> None:
        self._client, self._left = client, calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if not self._left:
                raise KilledError
            self._left -= 1
            return getattr(self._client, name)(*args, **named)

        return call


def test_it_may_be_cut_short_anywhere_and_is_not_read_before_it_is_done(
    mirror: Any, kept: dict[str, set[Any]], sized: Callable[[int, int], int]
) -> None:
    mirror.command("insert into mirror._snapshots (lsn, txid, completed_at) values (1, 700, now64(3))")
    # the source's tables come first, and are there
    calls = first = 2 + 3 * len(TABLES)
    while True:
        try:
            create_all(Killed(mirror, calls), TABLES)  # type: ignore[arg-type]
        except KilledError:
            assert mirror_began(mirror, look(mirror)) is None
        else:
            break
        create_all(mirror, TABLES)
        assert content(mirror) == kept, calls
        assert mirror_began(mirror, look(mirror))
        drop(mirror)
        calls += sized(3, 1)
    assert calls > first + 2 * len(KEPT)


def test_several_mirrors_may_fill_them_at_the_same_time(mirror: Any, kept: dict[str, set[Any]], sized: Callable[[int, int], int]) -> None:
    together = threading.Barrier(4)

    def make() -> None:
        with connect() as client:
            together.wait()
            create_all(client, TABLES)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(sized(3, 20)):
            for made in [pool.submit(make) for _ in range(4)]:
                made.result()
            assert content(mirror) == kept
            drop(mirror)


def test_what_is_filled_is_not_filled_again(mirror: Any, kept: dict[str, set[Any]]) -> None:
    create_all(mirror, TABLES)
    mirror.command("truncate table mirror._resolved")
    create_all(mirror, TABLES)
    assert content(mirror)["_resolved"] == set()
    assert mirror.command("select comment from system.tables where database = 'mirror' and name = '_resolved'") == FILLED
