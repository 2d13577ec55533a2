"""The SQL avoids what the local BigQuery stand-in gets wrong in silence: tests/stand_in.py is the list."""

from __future__ import annotations

from pathlib import Path

import pytest

from rainbow.settings import PROJECT_ROOT
from tests.stand_in import GAPS, gaps, gaps_in_code, of_dbt, of_python

# who talks to BigQuery; the stand-in itself is not asked
CODE = [
    path
    for package in ("rainbow", "api", "streaming")
    for path in sorted((PROJECT_ROOT / package).rglob("*.py"))
    if "rainbow/stack/" not in path.as_posix()
    and ("rainbow.warehouse" in path.read_text("utf-8") or "google.cloud" in path.read_text("utf-8"))
]
DBT = list(of_dbt(PROJECT_ROOT / "dbt"))


@pytest.mark.parametrize(("name", "sql"), DBT, ids=[name for name, _ in DBT])
def test_dbt_avoids_what_the_stand_in_gets_wrong(name: str, sql: str) -> None:
    assert gaps(sql) == []


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(PROJECT_ROOT).as_posix())
def test_code_avoids_what_the_stand_in_gets_wrong(path: Path) -> None:
    code = path.read_text("utf-8")
    assert [(gap, sql) for sql in of_python(code) for gap in gaps(sql)] == []
    assert gaps_in_code(code) == []


def test_all_that_sends_sql_is_looked_at() -> None:
    assert {"load.py", "transform.py", "fingerprint.py", "publish.py", "query.py"} <= {path.name for path in CODE}
    assert {"restated.sql", "keys.sql", "fact_sales.sql", "equal_sums.sql", "facts.yml"} <= {name for name, _ in DBT}
    found = list(of_python((PROJECT_ROOT / "rainbow" / "warehouse" / "load.py").read_text("utf-8")))
    assert sum("create table if not exists raw." in sql for sql in found) == 2


@pytest.mark.parametrize(
    ("refused", "instead"),
    [
        ("select date_trunc(d, WEEK(MONDAY)) from t", "select date_sub(d, interval mod(extract(dayofweek from d) + 5, 7) day) from t"),
        ("select approx_quantiles(x, 4) from t", "select x from t qualify row_number() over (order by x) = 4"),
        ("select * from t unpivot (v for n in (a, b))", "select 'a' as n, a as v from t union all select 'b' as n, b as v from t"),
        ("begin select 1; exception when error then rollback transaction; end", "select 1"),
        ("begin transaction; select 1; commit transaction", "merge into t using s on t.a = s.a when matched then delete"),
        ("merge into t using s on false when not matched then insert (a) values (a)", "insert into t (a) select a from s"),
        ("select farm_fingerprint(a) from t", "select cast(concat('0x', substr(to_hex(md5(a)), 1, 15)) as int64) from t"),
        ("select cast(a as numeric) from t", "select cast(a as numeric(38, 9)) from t"),
        ("create table t (a decimal, b int64)", "create table t (a decimal(18, 2), b int64)"),
        ("create table t (a bignumeric)", "select 'numeric' as kind -- numeric"),
        ("select div(a + b, c) from t", "select div((a + b), c) from t"),
        ("select div((a + b) * 2, c) from t", "select div(((a + b) * 2), c) from t"),
        ("select div(a, (b) + (c)) from t", "select div(greatest(a, 1 + b), 2) from t"),
        ("select a as at from t", "select a as seen_at, datetime(a at time zone 'UTC') as b from t"),
        ("select t.at from t", "select t.at_sea from t"),
        ("create table t (at timestamp)", "create table t (seen_at timestamp)"),
        ("select a from raw.orders$20240901", "select a from raw.orders where partition_date = date '2024-09-01'"),
        ("select a from `p.raw.orders$20240901`", "select '5$1' as price"),
        ("alter table t set options (require_partition_filter = true)", "select 1"),
    ],
)
def test_each_gap_is_found_and_what_is_said_to_write_instead_is_not(refused: str, instead: str) -> None:
    assert len(gaps(refused)) == 1
    assert gaps(instead) == []


def test_gaps_in_code_are_found() -> None:
    assert len(gaps_in_code("rows = client.get_table('a.b').num_rows")) == 1
    assert len(gaps_in_code("config = QueryJobConfig(dry_run=True)")) == 1
    assert len(gaps_in_code("table.require_partition_filter = True")) == 1
    assert gaps_in_code("(row,) = rows(client, 'select count(*) as n from a.b')  # never dry_run, never num_rows") == []


def test_a_python_string_is_read_with_what_is_put_in() -> None:
    code = 'f"select a from raw.{table}${day:%Y%m%d}"\nquery = f"select a from raw.{table}${day}"\ndef f():\n    """Select a as at."""'
    assert list(of_python(code)) == ["select a from raw.{}${}"]
    assert len(gaps("select a from raw.{}${}")) == 1


def test_the_list_is_whole() -> None:
    named = " ".join(gap.name for gap in GAPS).lower()
    for word in ("week", "approx_quantiles", "unpivot", "transactions", "num_rows", "require_partition_filter", "decorator"):
        assert word in named
    for word in ("numeric", "at", "on false", "farm_fingerprint", "dry run"):
        assert word in named
