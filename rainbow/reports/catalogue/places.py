"""Where the catalogue's links lead: pages of assets and months, reports, and the notebooks that made a partition of an asset."""

from __future__ import annotations

from datetime import date
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from rainbow.partitions.catalogue import Catalogue
    from rainbow.partitions.state import Status

REPORT = "sales"


class Places:
    """URLs as seen from the folder of the reports, or, ``within`` one of its folders, from there. Empty for what is not there."""

    def __init__(self, folder: Path, catalogue: Catalogue, *, within: bool = False) -> None:
        self.folder, self.catalogue = folder, catalogue
        self.top = "../" if within else ""
        # there may be a hundred thousand cells
        self.asset = lru_cache(maxsize=None)(self._asset)
        self.made = lru_cache(maxsize=None)(self._made)

    def within(self) -> Places:
        """The same places as seen from a folder below."""
        found = Places(self.folder, self.catalogue, within=True)
        found.__dict__["_there"] = self._there
        return found

    @cached_property
    def _there(self) -> dict[str, frozenset[str]]:
        """The pages and notebooks of each day's folder; looked up once, as there may be thousands."""
        days = sorted({*map(str, self.catalogue.days), *map(str, self.catalogue.made_in.values())})
        return {day: frozenset(path.name for path in (self.folder / day).iterdir()) for day in days if (self.folder / day).is_dir()}

    @cached_property
    def _failing(self) -> frozenset[tuple[str, date]]:
        return frozenset((one.asset, one.partition_date) for one in self.catalogue.failures)

    @property
    def index(self) -> str:
        """The first page."""
        return f"{self.top}index.html"

    def _asset(self, name: str) -> str:
        """The page of an asset."""
        return f"{self.top}assets/{quote(file_of(name))}"

    def month(self, day: date) -> str:
        """The page of a day's month."""
        return f"{self.top}months/{day:%Y-%m}.html"

    def report(self, day: date) -> str:
        """The report of a partition: its own, or that of the run of several days that it was part of."""
        return self._page(day, REPORT) or self._page(self._run_of(day), REPORT)

    def notebooks(self, day: date, names: tuple[str, ...]) -> list[tuple[str, str]]:
        """The executed notebooks of a partition, by name."""
        found = [(name, self._page(day, name) or self._page(self._run_of(day), name)) for name in names]
        return [(name, url) for name, url in found if url]

    def _made(self, step: str, run: str) -> str:
        """What a run's step left: its executed notebook, or the report."""
        day = self.catalogue.made_in.get(run)
        return self._page(day, REPORT if step == "report" else step) if day else ""

    def cell(self, asset: str, day: date, status: Status) -> str:
        """Where the state of an asset's partition is explained best."""
        step = self.catalogue.assets[asset].step
        if status.state == "failed" and (asset, day) in self._failing:
            return f"{self.asset(asset)}#failing"
        if status.state in ("failed", "running"):
            newest = self.catalogue.partitions[day].run
            return (self.made(step, newest.run) if newest else "") or self.asset(asset)
        return (self.made(step, status.newest.run) if status.newest else "") or self.asset(asset)

    def _run_of(self, day: date) -> date | None:
        run = self.catalogue.partitions[day].run if day in self.catalogue.partitions else None
        return run.partitions.last if run else None

    def _page(self, day: date | None, name: str) -> str:
        there = self._there.get(str(day), frozenset())
        ending = next((ending for ending in ("html", "ipynb") if f"{name}.{ending}" in there), "")
        return f"{self.top}{day}/{name}.{ending}" if ending else ""


def file_of(asset: str) -> str:
    """The name of an asset's page."""
    return f"{asset.replace('/', '-')}.html"
