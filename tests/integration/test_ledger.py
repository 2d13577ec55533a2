"""The ledger, as a SQLite file and in PostgreSQL: what it keeps, who may write at once, and what a killed process leaves."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from rainbow.checks import Check
from rainbow.errors import RainbowError, ServiceError
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.records import Made
from rainbow.settings import Settings, settings
from tests.integration.conftest import new_database

pytestmark = pytest.mark.services

DAY = date(2024, 9, 1)
ONE = PartitionRange(DAY, DAY)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """An empty ledger, which the settings name while the test runs."""
    if request.param == "sqlite":
        yield from _named(f"sqlite:///{tmp_path}/ledger.sqlite", monkeypatch)
        return
    with new_database(stack.url_of("postgres")) as url:
        yield from _named(url, monkeypatch)


def _named(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    monkeypatch.setenv("RAINBOW_LEDGER_URL", url)
    settings.cache_clear()
    made = Ledger()
    yield made
    made.engine.dispose()
    monkeypatch.undo()
    settings.cache_clear()


def made(asset: str, day: date = DAY, version: str = "v", **more: object) -> Made:
    return Made(asset, day, "code", version, {"lake/orders": "a"}, **more)  # type: ignore[arg-type]


def test_what_was_made_last_is_the_newest_and_the_rest_is_history(ledger: Ledger) -> None:
    run = ledger.begin(ONE, "run of 2024-09-01")
    ledger.record(run, [made("raw/orders", version="v1", rows=3, bytes=10, seconds=0.5, metadata={"files": 2}), made("raw/brands")])
    ledger.record(run, [made("raw/orders", version="v2")])
    ledger.end(run)
    found = ledger.newest(ONE)
    assert found["raw/orders", DAY].data_version == "v2"
    assert found["raw/orders", DAY].inputs == {"lake/orders": "a"}
    assert {name for name, _ in found} == {"raw/orders", "raw/brands"}
    assert [m.data_version for m in ledger.history("raw/orders")] == ["v2", "v1"]
    first = ledger.history("raw/orders")[1]
    assert (first.rows, first.bytes, first.seconds, first.metadata, first.run) == (3, 10, 0.5, {"files": 2}, run)
    assert ledger.days() == [DAY]


def test_a_run_and_its_steps_end_as_they_went(ledger: Ledger) -> None:
    run = ledger.begin(ONE, "run of 2024-09-01")
    with ledger.step(run, "extract", ONE):
        assert [(s.step, s.status) for s in ledger.steps(run=run)] == [("extract", "running")]
        assert ledger.runs()[0].status == "running"
    with pytest.raises(RainbowError), ledger.step(run, "load", ONE):
        raise RainbowError("no\nluck")
    with pytest.raises(KeyboardInterrupt), ledger.step(run, "load", ONE):
        raise KeyboardInterrupt
    ledger.end(run, "no luck")
    assert [(s.step, s.status, s.error) for s in ledger.steps(run=run)] == [
        ("extract", "done", None),
        ("load", "failed", "no luck"),
        ("load", "interrupted", "KeyboardInterrupt"),
    ]
    found = ledger.run(run)
    assert found
    assert (found.status, found.error, found.what) == ("failed", "no luck", "run of 2024-09-01")
    assert ledger.newest_runs()[DAY].run == run


def test_of_the_checks_the_newest_of_each_counts(ledger: Ledger) -> None:
    run = ledger.begin(ONE, "x")
    bad = Check("unique", "fact_sales", False, "2 rows", failing=2, sample=({"id": 1}, {"id": 2}))
    ledger.record_checks(run, DAY, [bad, Check("not_null", "fact_sales", False), Check("sums", "fact_sales", True)])
    ledger.record_checks(run, DAY, [Check("not_null", "fact_sales", True)])
    ledger.record_checks(run, DAY + timedelta(days=1), [Check("unique", "fact_sales", True)])
    assert ledger.failed_checks() == {("fact_sales", DAY): [bad]}
    assert ledger.failed_checks(PartitionRange(DAY + timedelta(days=1), DAY + timedelta(days=1))) == {}
    assert [check.passed for check in ledger.checks_of(run)] == [False, False, True, True, True]
    ledger.end(run)


def test_a_check_that_is_not_made_any_more_fails_nothing(ledger: Ledger) -> None:
    for found in ([Check("gone", "fact_sales", False), Check("stays", "fact_sales", True)], [Check("stays", "fact_sales", True)]):
        run = ledger.begin(ONE, "x")
        ledger.record_checks(run, DAY, found)
        ledger.end(run)
    assert ledger.failed_checks() == {}


def test_a_run_whose_process_was_killed_is_interrupted_and_lets_others_run(ledger: Ledger) -> None:
    code = (
        "import time; from datetime import date; from rainbow.partitions.dates import PartitionRange\n"
        "from rainbow.partitions.ledger import Ledger\n"
        "one = PartitionRange(date(2024, 9, 1), date(2024, 9, 1)); ledger = Ledger()\n"
        "with ledger.one_at_a_time('a run'), ledger.step(ledger.begin(one, 'a run'), 'extract', one):\n"
        "    print('begun', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "begun\n"
    assert [run.status for run in ledger.runs()] == ["running"]
    with pytest.raises(RainbowError, match="another run is under way"), ledger.one_at_a_time("me"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    _until_interrupted(ledger)
    assert [(step.step, step.status, step.error) for step in ledger.steps()] == [("extract", "interrupted", "its process ended")]
    with ledger.one_at_a_time("me"):
        pass


def _until_interrupted(ledger: Ledger) -> None:
    """PostgreSQL notices that a session's client is gone a moment later."""
    import time

    patience = time.monotonic() + 20
    while ledger.runs()[0].status != "interrupted":
        assert time.monotonic() < patience
        time.sleep(0.05)


def test_several_processes_write_at_once_and_nothing_is_lost(ledger: Ledger) -> None:
    code = (
        "import sys; from datetime import date, timedelta; from rainbow.partitions.dates import PartitionRange\n"
        "from rainbow.partitions.ledger import Ledger\n"
        "from rainbow.partitions.records import Made\n"
        "ledger, name = Ledger(), sys.argv[1]\n"
        "for n in range(20):\n"
        "    day = date(2024, 9, 1) + timedelta(days=n); one = PartitionRange(day, day)\n"
        "    run = ledger.begin(one, name)\n"
        "    with ledger.step(run, 'extract', one): ledger.record(run, [Made('lake/orders', day, 'c', f'{name}{n}'), Made(name, day, 'c', 'd')])\n"
        "    ledger.end(run)\n"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code, f"writer{n}"]) for n in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert len(ledger.runs(1000)) == 80
    assert {run.status for run in ledger.runs(1000)} == {"done"}
    assert len(ledger.history("lake/orders", 1000)) == 80
    assert len(ledger.newest()) == 20 + 80


def test_a_ledger_that_does_not_answer_or_cannot_be_one_is_one_line(stack: Settings) -> None:
    with pytest.raises(ServiceError, match="RAINBOW_LEDGER_URL"):
        Ledger("postgresql://nobody:secret@127.0.0.1:1/none")
    with pytest.raises(RainbowError, match="RAINBOW_LEDGER_URL is neither"):
        Ledger("mysql://x/y")
