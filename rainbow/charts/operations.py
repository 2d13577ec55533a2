"""How the workbench itself does: partitions and their states, checks, freshness, the time that steps take, and the speed layer.

Read from the ledger and, for what the charts show, from ClickHouse's watermarks. It is as it was when the page was made: a report
that is drawn anew shows the states of then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from rainbow.charts import formats, serving, shapes
from rainbow.charts.elements import Chart, Column, Figure, Fragment, answer, empty, headline, table
from rainbow.charts.serving import Scope
from rainbow.charts.shapes import ACCENT, BASE, GREY, PROVISIONAL, PURPLE, TEAL, VERMILLION, YELLOW
from rainbow.checks import Check
from rainbow.errors import RainbowError
from rainbow.partitions.assets import REPORT, STEPS
from rainbow.partitions.catalogue import groups_of_assets
from rainbow.partitions.dates import PartitionRange
from rainbow.partitions.ledger import Ledger
from rainbow.partitions.records import StepRun
from rainbow.partitions.state import Key, State, Status, of_partition, states
from rainbow.source.tables import TABLES

DAYS = 28
MOST_CHECKS = 15

# a state's colour, its mark for those who cannot tell the colour, and its name
_STATES: Mapping[State, tuple[str, str]] = {
    "done": (TEAL, "✓"),
    "running": (BASE, "…"),
    "stale": (YELLOW, "↻"),
    "failed": (VERMILLION, "✕"),
    "missing": (GREY, "·"),
}
_STEP_ROLES = dict(zip(STEPS, (BASE, PROVISIONAL, TEAL, YELLOW, PURPLE, ACCENT), strict=True))
_GRID_TOOLTIP = (("group", "Assets"), ("day", "Day"), ("state", "State"), ("why", "Why"))
_STEP_TOOLTIP = (("day", "Day"), ("step", "Step"), ("took", "Time"), ("all", "All steps"))


@dataclass(frozen=True)
class Operations:
    """What the ledger knows of the latest days. ``groups`` has each group's state and reasons by day; ``steps`` the newest run of
    each step by its last day, in seconds; ``checks`` are those of the day's newest run, ``rows`` what it extracted.
    """

    scope: Scope
    groups: Mapping[str, Mapping[date, tuple[State, tuple[str, ...]]]]
    steps: Sequence[StepRun]
    checks: Sequence[Check]
    rows: int
    watermarks: Sequence[serving.Row] = field(default=())

    def answer(self) -> Fragment:
        """Whether all is well with the day."""
        day = formats.long_date(self.scope.partition_date)
        if not self.groups:
            return answer("No run of {} is in the ledger.", about=self.scope.about(), parts=[day])
        failed, warned = self._failed(), self._warned()
        if failed:
            return answer("{} failed on {}.", about=self.scope.about(), parts=[_counted(len(failed), "check"), day])
        if warned:
            return answer("{} on {}, and no check failed.", about=self.scope.about(), parts=[_counted(len(warned), "warning"), day])
        return answer("{} passed on {}.", about=self.scope.about(), parts=[f"All {_counted(len(self.checks), 'check')}", day])

    def headline(self) -> Fragment:
        """The day's checks, its rows, and the partitions of the latest days that are not done."""
        open_days = {day for of_group in self.groups.values() for day, (state, _) in of_group.items() if state not in ("done", "running")}
        figures = [
            Figure("Checks passed", sum(check.passed for check in self.checks)),
            Figure("Checks failed", len(self._failed())),
            Figure("Warnings", len(self._warned())),
            Figure("Rows extracted", self.rows),
            Figure("Days not done", len(open_days)),
        ]
        days = self._days()
        note = f"days from {formats.short_date(days[0])} on" if days else ""
        return headline(f"Run of {formats.short_date(self.scope.partition_date)}", figures, note=note)

    def partitions(self) -> Chart | Fragment:
        """Groups of assets by day, each in the colour and with the mark of its state."""
        if not self.groups:
            return empty("The ledger knows no partition yet: run one with `rainbow run`.")
        rows = [self._cell(group, day, *found) for group, of_group in self.groups.items() for day, found in of_group.items()]
        counts = Counter(row["state"] for row in rows)
        title = "Partitions by group of assets"
        alt = f"{title}, {_span(self._days())}: " + ", ".join(f"{counts[state]} {state}" for state in _STATES if counts[state]) + "."
        legend = [(role, state) for state, (role, _) in _STATES.items() if counts[state]]
        return Chart(shapes.grid(rows, list(self.groups), tooltip=_GRID_TOOLTIP), title, alt, note=_span(self._days()), legend=legend)

    def durations(self) -> Chart | Fragment:
        """How long each day's steps took, the newest run of each."""
        if not self.steps:
            return empty("No step has ended yet.")
        total: Counter[date] = Counter()
        for step in self.steps:
            total[step.partitions.last] += _seconds(step)  # type: ignore[assignment]
        rows = [
            {
                "date": step.partitions.last.isoformat(),
                "value": round(_seconds(step), 3),
                "role": _STEP_ROLES[step.step],
                "place": STEPS.index(step.step),
                "step": step.step,
                "day": formats.long_date(step.partitions.last),
                "took": formats.duration(_seconds(step)),
                "all": formats.duration(total[step.partitions.last]),
            }
            for step in self.steps
        ]
        last = max(total)
        title = "Seconds a day's steps took"
        alt = f"{title}, {_span(sorted(total))}. On {formats.short_date(last)}: {formats.duration(total[last])}."
        drawn = {row["step"] for row in rows}
        legend = [(role, step) for step, role in _STEP_ROLES.items() if step in drawn]
        return Chart(shapes.stacked_days(rows, tooltip=_STEP_TOOLTIP), title, alt, legend=legend)

    def freshness(self) -> Fragment:
        """Up to which day each group of assets is done, and each published view complete."""
        if not self.groups and not self.watermarks:
            return empty("Nothing was made or published yet.")
        shown = [{"what": group, **self._fresh(of_group)} for group, of_group in self.groups.items()]
        marks = {(row["watermark_date"], row["published_at"].replace(microsecond=0)) for row in self.watermarks}
        for mark, published in sorted(marks):
            names = [row["view"] for row in self.watermarks if (row["watermark_date"], row["published_at"].replace(microsecond=0)) == (mark, published)]  # fmt: skip
            what = f"Charts: {_counted(len(names), 'published table')}"
            shown.append({"what": what, "day": formats.short_date(mark), "behind": self._behind(mark), "at": _moment(published)})
        columns = [
            Column("what", "What"),
            Column("day", "Done to"),
            Column("behind", "Days behind", "number"),
            Column("at", "Published, UTC"),
        ]
        return table(shown, columns, caption=f"Freshness, as seen from {formats.short_date(self.scope.partition_date)}", currency="")

    def table(self) -> Fragment:
        """The checks that do not hold, or else how many hold by group of assets."""
        wrong = sorted([*self._failed(), *self._warned()], key=lambda check: check.severity)
        if wrong:
            shown = [{"asset": c.asset, "check": c.name, "severity": c.severity, "failing": c.failing, "detail": c.detail} for c in wrong]
            columns = [
                Column("check", "Check"),
                Column("asset", "Asset"),
                Column("severity", "Severity"),
                Column("failing", "Rows at fault", "number"),
                Column("detail", "Detail"),
            ]
            first = f", the first {MOST_CHECKS} of {len(shown)}" if len(shown) > MOST_CHECKS else ""
            return table(shown[:MOST_CHECKS], columns, caption=f"Checks that do not hold{first}", currency="")
        if not self.checks:
            return empty("No checks were made.")
        groups = groups_of_assets()
        counts = Counter(groups.get(check.asset, "Across tables") for check in self.checks)
        columns = [Column("group", "Assets"), Column("passed", "Checks passed", "number")]
        shown = [{"group": group, "passed": count} for group, count in counts.items()]
        summary = {"group": "All", "passed": len(self.checks)}
        return table(shown, columns, caption=f"Checks on {formats.short_date(self.scope.partition_date)}", currency="", summary=summary)

    def speed_layer(self) -> Fragment:
        """How far the mirror is, by table, and the slot that capture reads; one line where there is no speed layer."""
        mirrored = _mirrored()
        if not mirrored:
            return empty("No speed layer runs here: every figure comes from the batch, complete to the day above.")
        columns = [Column("table", "Table"), Column("rows", "Rows", "number"), Column("newest", "Newest change, UTC")]
        lag = _slot_lag()
        slot = (
            f"; {formats.exact(lag)} bytes of PostgreSQL's log not captured yet"
            if lag is not None
            else "; PostgreSQL has no slot that captures"
        )
        return table(mirrored, columns, caption=f"The mirror{slot}", currency="")

    def _failed(self) -> list[Check]:
        return [check for check in self.checks if check.stops]

    def _warned(self) -> list[Check]:
        return [check for check in self.checks if not check.passed and not check.stops]

    def _days(self) -> list[date]:
        return sorted({day for of_group in self.groups.values() for day in of_group})

    def _cell(self, group: str, day: date, state: State, reasons: tuple[str, ...]) -> dict[str, Any]:
        role, mark = _STATES[state]
        why = formats.plain("; ".join(reasons)) if reasons else formats.NO_VALUE
        return {
            "group": group,
            "date": day.isoformat(),
            "role": role,
            "mark": mark,
            "state": state,
            "why": why if len(why) <= 160 else f"{why[:159]}…",
            "day": formats.long_date(day),
        }

    def _fresh(self, of_group: Mapping[date, tuple[State, tuple[str, ...]]]) -> dict[str, Any]:
        done = max((day for day, (state, _) in of_group.items() if state == "done"), default=None)
        return {"day": formats.short_date(done) if done else formats.NO_VALUE, "behind": self._behind(done), "at": formats.NO_VALUE}

    def _behind(self, day: date | None) -> int | None:
        return None if day is None else max((self.scope.partition_date - day).days, 0)


def operations(partition_date: date | str | None = None) -> Operations:
    """How the workbench did on ``partition_date`` (None: the last complete partition) and the days before it."""
    scope = serving.scope("total_sales", partition_date)
    ledger = Ledger()
    known = [day for day in ledger.days() if day <= scope.partition_date]
    if not known:
        return Operations(scope, {}, (), (), 0, serving.watermarks())
    latest = PartitionRange(max(known[0], scope.partition_date - timedelta(days=DAYS - 1)), scope.partition_date)
    steps = _newest(ledger.steps(partitions=latest), latest)
    run = next((step.run for step in reversed(steps) if step.step == "extract" and scope.partition_date in step.partitions), None)
    validated = next((step.run for step in reversed(steps) if step.step == "validate" and scope.partition_date in step.partitions), run)
    rows = ledger.totals([run])[run][0] if run else 0
    checks = ledger.checks_of(validated) if validated else []
    return Operations(scope, _by_group(states(latest, ledger=ledger)), steps, checks, rows, serving.watermarks())


def _newest(steps: Iterable[StepRun], partitions: PartitionRange) -> list[StepRun]:
    """Of each step and day the newest that has ended well; a step of several days stands at its last."""
    found = {(step.partitions.last, step.step): step for step in steps if step.status == "done" and step.partitions.last in partitions}
    known = [step for step in found.values() if step.step in STEPS]
    return sorted(known, key=lambda step: (step.partitions.last, STEPS.index(step.step)))


def _by_group(found: Mapping[Key, Status]) -> dict[str, dict[date, tuple[State, tuple[str, ...]]]]:
    """The state of each group by day; the report itself is left out, as it is being made."""
    members: dict[str, list[str]] = {}
    for name, group in groups_of_assets().items():
        if name != REPORT:
            members.setdefault(group, []).append(name)
    days = sorted({day for _, day in found})
    return {group: {day: _together([found[name, day] for name in names]) for day in days} for group, names in members.items()}


def _together(found: Sequence[Status]) -> tuple[State, tuple[str, ...]]:
    state = of_partition(found)
    reasons = dict.fromkeys(reason for status in found if status.state == state for reason in status.reasons)
    return state, tuple(reasons)[:3]


def _seconds(step: StepRun) -> float:
    return (step.ended_at - step.started_at).total_seconds() if step.ended_at else 0.0


def _span(days: Sequence[date]) -> str:
    if len(days) < 2:
        return formats.short_date(days[0]) if days else ""
    return f"{formats.short_date(days[0])} to {formats.short_date(days[-1])}"


def _moment(moment: datetime) -> str:
    return f"{formats.short_date(moment.date())} {moment:%H:%M}"


def _counted(count: int, one: str) -> str:
    return f"{formats.exact(count)} {one}{'' if count == 1 else 's'}"


def _mirrored() -> list[serving.Row]:
    """Each table of the mirror: how many rows it holds and when its newest change was committed; none where there is no mirror."""
    client = serving.client()
    if client.query("exists table mirror._snapshots").result_rows != [(1,)]:
        return []
    each = " union all ".join(
        f"select '{one.name}' as name, count() as rows, formatDateTime(maxOrNull(_committed_at), '%F %T', 'UTC') as newest "
        f"from mirror.{one.name} final where not _deleted"
        for one in TABLES
    )
    return [{"table": name, "rows": rows, "newest": newest} for name, rows, newest in client.query(f"{each} order by name").result_rows]


def _slot_lag() -> int | None:
    """Bytes of the log that capture has not confirmed; None without a slot, or where PostgreSQL does not answer."""
    from rainbow.source.connection import connect

    try:
        with connect(autocommit=True) as connection:
            row = connection.execute(
                "select (pg_current_wal_lsn() - confirmed_flush_lsn)::bigint from pg_replication_slots where slot_name = 'rainbow'"
            ).fetchone()
    except RainbowError:
        return None
    return max(int(row[0]), 0) if row and row[0] is not None else None
