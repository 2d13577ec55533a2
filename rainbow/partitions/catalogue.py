"""The catalogue: all that the ledger and the project know of the assets, gathered once for the pages that show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from rainbow import pipeline
from rainbow.checks import Check
from rainbow.partitions.assets import NOTEBOOKS, Asset, assets
from rainbow.partitions.attention import Trouble, troubles
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.records import Made, Run
from rainbow.partitions.state import Key, State, Status, of_partition, states
from rainbow.source import tables
from rainbow.warehouse import project
from rainbow.warehouse.project import Model

# groups of the assets that no dbt model makes, by the first part of their names; a model's group is its folder
GROUPS = {"lake": "Lake", "raw": "Raw", "olap": "ClickHouse", "report": "Report"}
# newest materializations of an asset, and newest runs, that the pages show
HISTORY, RUNS = 10, 15
# partitions in full on the first page; those before have a page a month
RECENT = 62
MISSING = Status("missing", ("never made",))


@dataclass(frozen=True)
class Column:
    """A column of an asset's table, with its type in PostgreSQL or GoogleSQL."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Entry:
    """An asset as the catalogue lists it: ``made`` are its newest materializations, ``checks`` those of the newest run that made any."""

    name: str
    group: str
    step: str
    description: str
    code_version: str
    upstream: tuple[str, ...]
    downstream: tuple[str, ...]
    columns: tuple[Column, ...]
    made: tuple[Made, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Finding:
    """A check that does not hold for a partition as it is now."""

    asset: str
    partition_date: date
    check: Check


@dataclass(frozen=True)
class Partition:
    """A partition and the newest run that it was part of: None when its assets came with another's. Rows are those extracted."""

    day: date
    state: State
    run: Run | None
    rows: int
    passed: int
    failed: int
    warned: int


@dataclass(frozen=True)
class Freshness:
    """A group of assets: ``state`` is that of the newest partition, ``whole`` the newest one of which all its assets are done."""

    group: str
    assets: int
    state: State
    whole: date | None


@dataclass(frozen=True)
class Catalogue:
    """What the pages show, as it was ``at`` a moment, UTC.

    ``days`` are all partitions from the first to the last that the ledger knows, those that no run has had among them;
    ``statuses`` are of those that the ledger knows. ``made_in`` is the folder of each run's notebooks. ``following`` counts the
    partitions of assets that are not done because of the ``troubles``.
    """

    at: datetime
    assets: Mapping[str, Entry]
    days: tuple[date, ...]
    statuses: Mapping[Key, Status]
    partitions: Mapping[date, Partition]
    runs: tuple[Run, ...]
    made_in: Mapping[str, date]
    troubles: tuple[Trouble, ...]
    following: int
    failures: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    freshness: tuple[Freshness, ...]
    recent: int = RECENT
    notebooks: tuple[str, ...] = NOTEBOOKS
    dashboards: tuple[str, ...] = field(default_factory=pipeline.dashboards)

    @property
    def yesterday(self) -> date:
        """The newest day that has ended."""
        return self.at.date() - timedelta(days=1)

    def status(self, asset: str, day: date) -> Status:
        """The state of an asset's partition, of one that no run has had too."""
        return self.statuses.get((asset, day), MISSING)


def gather(ledger: Ledger | None = None) -> Catalogue:
    """All that the catalogue shows, from the ledger, dbt's project and the declared tables."""
    ledger = ledger or Ledger()
    statuses = states(ledger=ledger)
    known = sorted({day for _, day in statuses})
    days = tuple(known[0] + timedelta(days=n) for n in range((known[-1] - known[0]).days + 1)) if known else ()
    runs = ledger.runs(1_000_000)
    entries = {entry.name: entry for entry in _entries(ledger, runs)}
    found, following = troubles(statuses, assets(), sorted(set(days) - set(known)))
    findings = [Finding(name, day, check) for (name, day), checks in ledger.failed_checks().items() for check in checks]
    findings.sort(key=lambda one: one.partition_date, reverse=True)
    return Catalogue(
        at=datetime.now(UTC),
        assets=entries,
        days=days,
        statuses=statuses,
        partitions=_partitions(days, statuses, runs, ledger),
        runs=tuple(runs[:RUNS]),
        made_in={run.run: run.partitions.last for run in runs},
        troubles=found,
        following=following,
        failures=tuple(one for one in findings if one.check.severity == "error"),
        warnings=tuple(one for one in findings if one.check.severity != "error"),
        freshness=tuple(_freshness(entries, days, statuses)),
    )


def _entries(ledger: Ledger, runs: Sequence[Run]) -> Iterator[Entry]:
    downstream: dict[str, list[str]] = {name: [] for name in assets()}
    for one in assets().values():
        for up in one.upstream:
            downstream[up].append(one.name)
    checks: dict[str, list[Check]] = {}
    for check in _newest_checks(ledger, runs):
        checks.setdefault(check.asset, []).append(check)
    models, groups = project.models(), groups_of_assets()
    for one in assets().values():
        yield Entry(
            one.name,
            groups[one.name],
            one.step,
            one.description,
            one.code_version,
            one.upstream,
            tuple(downstream[one.name]),
            _columns(one.name, models),
            tuple(ledger.history(one.name, HISTORY)),
            tuple(checks.get(one.name, ())),
        )


def _newest_checks(ledger: Ledger, runs: Sequence[Run]) -> list[Check]:
    return next((found for run in runs[:RUNS] if (found := ledger.checks_of(run.run))), [])


def groups_of_assets() -> dict[str, str]:
    """The group that each asset is listed in, by name, in the order of assets."""
    models = project.models()
    return {one.name: _group(one, models) for one in assets().values()}


def _group(asset: Asset, models: Mapping[str, Model]) -> str:
    kind, _, name = asset.name.rpartition("/")
    if kind in GROUPS:
        return GROUPS[kind]
    return models[name].folder.replace("_", " ").capitalize()


def _columns(name: str, models: Mapping[str, Model]) -> tuple[Column, ...]:
    kind, _, table = name.rpartition("/")
    if kind in ("lake", "raw"):
        return tuple(Column(c.name, c.type, c.description or _reference(c.references)) for c in tables.BY_NAME[table].columns)
    model = models.get(table)
    return tuple(Column(c, type_, description) for c, (type_, description) in model.columns.items()) if model else ()


def _reference(table: str | None) -> str:
    return f"Key of {table}." if table else ""


def _partitions(days: Sequence[date], statuses: Mapping[Key, Status], runs: Sequence[Run], ledger: Ledger) -> dict[date, Partition]:
    names = list(assets())
    totals = ledger.totals(one.run for one in runs)
    newest: dict[date, Run] = {}
    for one in reversed(runs):
        # a run that drew the report alone has no rows and no checks: those of the run before it stand
        stands = newest if one.status == "done" and not any(totals[one.run]) else {}
        newest |= dict.fromkeys(one.partitions, one) | {day: stands[day] for day in one.partitions if day in stands}
    known = {day for _, day in statuses}
    found = {}
    for day in days:
        state = of_partition([statuses[name, day] for name in names]) if day in known else "missing"
        run = newest.get(day)
        rows, passed, failed, warned = totals[run.run] if run else (0, 0, 0, 0)
        found[day] = Partition(day, state, run, rows, passed, failed, warned)
    return found


def _freshness(entries: Mapping[str, Entry], days: Sequence[date], statuses: Mapping[Key, Status]) -> Iterator[Freshness]:
    groups: dict[str, list[str]] = {}
    for entry in entries.values():
        groups.setdefault(entry.group, []).append(entry.name)
    for group, names in groups.items():
        whole = (day for day in reversed(days) if all(statuses.get((name, day), MISSING).state == "done" for name in names))
        state = of_partition([statuses.get((name, days[-1]), MISSING) for name in names]) if days else "missing"
        yield Freshness(group, len(names), state, next(whole, None))
