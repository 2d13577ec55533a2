"""The run that steps belong to: the one the runner has begun in this process, or one of their own when a notebook is run by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

from rainbow import interrupts
from rainbow.lake import manifest as manifests
from rainbow.lake.files import Lake
from rainbow.partitions import openlineage
from rainbow.partitions.dates import PartitionRange, today
from rainbow.partitions.ledger import Ledger, one_line

LATEST = "latest"


class _Context:
    run: str | None = None
    error: BaseException | None = None


_context = _Context()


@contextmanager
def within(run: str) -> Iterator[None]:
    """Steps in this block belong to ``run``, whose lock the caller holds."""
    _context.run, _context.error = run, None
    try:
        yield
    finally:
        _context.run = None


def last_error() -> BaseException | None:
    """What a step of the current run raised; notebook runners wrap it beyond recognition."""
    return _context.error


@contextmanager
def step_of_run(step: str, partitions: PartitionRange) -> Iterator[str]:
    """A step of the current run, or of one begun and ended here; noted in the ledger from its beginning. Gives the run's name."""
    ledger = Ledger()
    if _context.run is not None:
        try:
            interrupts.check()
            with openlineage.of_step(_context.run, step, partitions), ledger.step(_context.run, step, partitions):
                yield _context.run
        except BaseException as error:
            _context.error = error
            raise
        return
    with (
        ledger.one_at_a_time(f"{step} of {partitions}"),
        ended_with(ledger.begin(partitions, step)) as run,
        openlineage.of_step(run, step, partitions),
        ledger.step(run, step, partitions),
    ):
        yield run


@contextmanager
def ended_with(run: str) -> Iterator[str]:
    """Note a run's end when the block ends, and how it ended; tell of its lineage where the settings ask for it."""
    ledger = Ledger()
    try:
        with openlineage.of_run(run):
            yield run
    except Exception as error:
        ledger.end(run, one_line(error))
        raise
    except BaseException as error:
        ledger.end(run, one_line(error), status="interrupted")
        raise
    ledger.end(run)


def partitions_of(partition_date: str | date | None, partition_end: str | date | None = None) -> PartitionRange:
    """The partitions that a notebook's parameters name; ``latest`` or None is the other one's day, or the newest one extracted, or else yesterday."""
    if partition_date in (None, LATEST) and partition_end not in (None, LATEST):
        partition_date = partition_end
    if partition_date in (None, LATEST):
        partition_date = manifests.latest_partition(Lake()) or today() - timedelta(days=1)
    if partition_end in (None, LATEST):
        partition_end = partition_date
    assert partition_date is not None
    return PartitionRange.parse(partition_date, partition_end)
