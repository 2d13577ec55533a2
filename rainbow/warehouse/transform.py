"""Transform: what dbt makes of ``raw``, for the files that no finished transform has worked in; and the tests of the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from rainbow.checks import Check
from rainbow.warehouse import project, rebuild
from rainbow.warehouse.client import connect
from rainbow.warehouse.sql import change, one_line, rows

if TYPE_CHECKING:
    from google.cloud import bigquery

SAMPLE_ROWS = 10


@dataclass(frozen=True)
class Transformed:
    """What a transform did: files it worked in, seconds by model, and rows that it changed by model where that is known; no model when
    there was nothing to do."""

    files: int
    seconds: dict[str, float]
    rows: dict[str, int | None]


class Pending(NamedTuple):
    """What no finished transform has worked in: loaded files, a first partition that is another one now, models to be made anew."""

    files: int
    firsts: int
    rebuilds: int


CONTROL = {
    "transformed_files": "table_name string, partition_date date, lsn int64",
    "rebuilds": "model string, from_date date, requested int64",
    "model_versions": "model string, version string",
}


def transform(*, client: bigquery.Client | None = None, on_model: Callable[[str, float], None] | None = None) -> Transformed:
    """Bring staging and warehouse to what ``raw`` holds now. What was cut short before is done again; nothing to do is nothing done.

    A model whose code is another than the one that made its table is made anew, from the first day on. Raises DataError when
    BigQuery refuses a statement, ServiceError when it does not answer.
    """
    client = client or connect()
    is_whole = _prepare(client)
    statements = project.statements() if is_whole else None
    seconds: dict[str, float] = {}
    changed: dict[str, int | None] = {}
    files = 0
    if statements is None:
        files = pending(client).files
        began = perf_counter()
        statements = project.run()
        seconds["dbt run"] = perf_counter() - began
        if not is_whole:
            _keep_versions(client, project.versions())
    outdated = outdated_models(client)
    rebuild.request(client, outdated)
    waiting = pending(client)
    if waiting.rebuilds:
        rebuild.clear(client, statements)
    if any(waiting):
        for statement in statements:
            if statement.kind == "model" and not statement.fixed:
                began = perf_counter()
                changed[statement.name] = change(client, statement.sql)
                seconds[statement.name] = perf_counter() - began
                if on_model:
                    on_model(statement.name, seconds[statement.name])
        _keep_versions(client, {name: version for name, version in project.versions().items() if name in outdated})
    return Transformed(files + waiting.files, seconds, changed)


def _prepare(client: bigquery.Client) -> bool:
    """Make the tables of bookkeeping; whether every table and view that dbt makes is there.

    Without one of its tables the history is not to be trusted, so what was finished is forgotten: all of it is worked out anew
    from raw.
    """
    with one_line("listing of tables"):
        there = {table.table_id for dataset in ("staging", "warehouse") for table in client.list_tables(dataset)}
    if lacking := CONTROL.keys() - there:
        rows(client, "; ".join(f"create table if not exists staging.{name} ({CONTROL[name]})" for name in sorted(lacking)))
    if there >= project.names():
        return True
    if "transformed_files" in there:
        rows(client, "delete from staging.transformed_files where true")
    return False


def outdated_models(client: bigquery.Client) -> list[str]:
    """Models whose table was made by another code than the one of now."""
    made = {row.model: row.version for row in rows(client, "select model, version from staging.model_versions")}
    return [name for name, version in project.versions().items() if made.get(name) != version]


def _keep_versions(client: bigquery.Client, versions: dict[str, str]) -> None:
    if not versions:
        return
    names = ", ".join(f"'{name}'" for name in versions)
    values = ", ".join(f"('{name}', '{version}')" for name, version in versions.items())
    rows(client, f"delete from staging.model_versions where model in ({names})")
    rows(client, f"insert into staging.model_versions (model, version) values {values}")


def pending(client: bigquery.Client) -> Pending:
    """How much there is to do."""
    (row,) = rows(
        client,
        """with done as (select table_name, partition_date, lsn from staging.transformed_files)
           select
               (select count(*) from raw.lake_files as f
                left join done as d on f.table_name = d.table_name and f.partition_date = d.partition_date and f.lsn = d.lsn
                where d.lsn is null) as files,
               (select count(*) from (select min(first_date) as first_date from raw.lake_manifests) as m
                left join done as d on d.table_name = '(first partition)' and m.first_date = d.partition_date
                where m.first_date is not null and d.lsn is null) as firsts,
               (select count(*) from staging.rebuilds as r
                left join done as d on d.table_name = concat('(rebuild) ', r.model) and r.from_date = d.partition_date and r.requested = d.lsn
                where d.lsn is null) as rebuilds""",
    )
    return Pending(row.files, row.firsts, row.rebuilds)


def run_tests(*, client: bigquery.Client | None = None) -> list[Check]:
    """Run dbt's tests, all in one query; of a failing one, fetch rows that show it. dbt must have run."""
    client = client or connect()
    tests = [s for s in project.statements() or project.run() if s.kind == "test"]
    counts = " union all ".join(f"select {n} as test, (select count(*) from (\n{t.sql}\n)) as failing" for n, t in enumerate(tests))
    failing = {row.test: row.failing for row in rows(client, counts)}
    return [_check(client, test, failing[n]) for n, test in enumerate(tests)]


def _check(client: bigquery.Client, test: project.Statement, failing: int) -> Check:
    if not failing:
        return Check(test.name, test.asset, True, "no row at fault", test.severity)  # type: ignore[arg-type]
    sample: tuple[dict[str, Any], ...] = tuple(
        dict(row.items()) for row in rows(client, f"select * from (\n{test.sql}\n) limit {SAMPLE_ROWS}")
    )
    shown = ", ".join(f"{k} {v}" for k, v in sample[0].items())
    return Check(test.name, test.asset, False, f"{failing} rows at fault, the first: {shown}", test.severity, failing, sample)  # type: ignore[arg-type]
