"""A ledger as days of runs leave it, written through the ledger itself: no service is needed, only dbt's compiler for the assets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import date

from rainbow.checks import Check
from rainbow.partitions.assets import REPORT, STEPS, Asset, assets, made_by
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.records import Made
from rainbow.partitions.state import CumulativeVersion


class Days:
    """Lives through partitions, one run a day, in order. What is made is made by the code of now from the data of now."""

    def __init__(self, ledger: Ledger, *, code: Callable[[Asset, date], str] = lambda asset, day: asset.code_version) -> None:
        self.ledger = ledger
        self.code = code
        self._shown = {up: CumulativeVersion() for up in assets()[REPORT].upstream}

    def live(self, days: Iterable[date], *, checks: Sequence[Check] = ()) -> None:
        """A run a day that goes well; each validates with these checks."""
        for day in days:
            partition = PartitionRange(day, day)
            run = self.ledger.begin(partition, f"run of {partition}")
            for step in STEPS:
                with self.ledger.step(run, step, partition):
                    self.ledger.record(run, list(self._made(step, day)))
                    if step == "validate":
                        self.ledger.record_checks(run, day, checks)
            self.ledger.end(run)

    def fail(self, day: date, at: str, error: Exception, *, checks: Sequence[Check] = ()) -> None:
        """A run that goes well up to a step, which raises the error."""
        partition = PartitionRange(day, day)
        run = self.ledger.begin(partition, f"run of {partition}")
        for step in STEPS[: STEPS.index(at)]:
            with self.ledger.step(run, step, partition):
                self.ledger.record(run, list(self._made(step, day)))
        with suppress(type(error)), self.ledger.step(run, at, partition):
            self.ledger.record_checks(run, day, checks)
            raise error
        self.ledger.end(run, str(error))

    def _made(self, step: str, day: date) -> Iterator[Made]:
        for one in made_by(step):
            if one.name in self._shown:
                self._shown[one.name].add(day, _version(one.name, day))
            inputs = {up: self._shown[up].version if one.cumulative else _version(up, day) for up in one.upstream}
            size = {"rows": 1000 + day.day, "bytes": 40_000} if step == "extract" else {"rows": 1000 + day.day}
            yield Made(one.name, day, self.code(one, day), _version(one.name, day), inputs, seconds=0.25, **size)


def _version(name: str, day: date) -> str:
    return f"{name}@{day}"
