"""The assets: what the steps of the pipeline make, what each is made from, and by which code.

An asset has a state for each partition (``rainbow.partitions.state``). Those of the source and the lake follow from the declared
tables, those of the warehouse from dbt's project, those of ClickHouse from what is published; so a table or a model more is an
asset more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from rainbow import code_version
from rainbow.errors import RainbowError
from rainbow.olap.published import DIMENSIONS, OVER_ALL_DAYS, VIEWS
from rainbow.settings import PROJECT_ROOT
from rainbow.source.tables import TABLES
from rainbow.warehouse import dbt, project

REPORT = "report/sales"
# the steps of a run in their order; ``validate`` makes no asset, it lets what follows it run or not
STEPS = ("extract", "load", "transform", "validate", "publish", "report")
# the notebooks of these steps; those that the report is made of are in rainbow.pipeline
NOTEBOOKS = STEPS[:-1]
# what the report is drawn by
_DRAWN_BY = ("pipeline.yaml", "notebooks/dashboards/*.ipynb", "rainbow/charts/*.py", "rainbow/reports/*.py", "rainbow/reports/templates/*")


@dataclass(frozen=True)
class Asset:
    """A thing that a step makes for each partition.

    ``code_version`` is a hash of what makes it. ``cumulative`` assets are made from all partitions of their upstream up to their
    own, the others from the same partition of it.
    """

    name: str
    step: str
    description: str
    upstream: tuple[str, ...]
    code_version: str
    cumulative: bool = False


def assets() -> dict[str, Asset]:
    """All assets by name, each after those that it is made from. Raises DataError when dbt's project cannot be compiled."""
    return _assets(dbt.version(), code_version.of_files(PROJECT_ROOT, _DRAWN_BY))


def asset(name: str) -> Asset:
    """The asset of a name. Raises RainbowError, with a suggestion, when there is none."""
    found = assets().get(name)
    if found is None:
        raise RainbowError(f"there is no asset {name}: {_suggestion(name)}")
    return found


def made_by(step: str) -> tuple[Asset, ...]:
    """What a step makes."""
    return tuple(one for one in assets().values() if one.step == step)


def of_model(model: str) -> str:
    """The asset that a model of dbt's project is, or, of a staging model, the one that shows what is wrong with it."""
    lineage, known = project.lineage(), project.models()
    if model in lineage:
        return _of_model(model)
    if model.startswith("stg_"):
        return f"raw/{model.removeprefix('stg_')}"
    reached = {model}
    for one in known.values():
        if reached & set(one.upstream):
            if one.name in lineage:
                return _of_model(one.name)
            reached.add(one.name)
    return model


def downstream(names: Iterable[str]) -> set[str]:
    """The assets that are made from these, directly or not; these are not among them unless one is made from another."""
    found: set[str] = set()
    start = set(names)
    for one in assets().values():
        if any(up in start or up in found for up in one.upstream):
            found.add(one.name)
    return found


def upstream(names: Iterable[str]) -> set[str]:
    """The assets that these are made from, directly or not."""
    known = assets()
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        fresh = set(known[waiting.pop()].upstream) - found
        found |= fresh
        waiting += fresh
    return found


def select(expressions: Iterable[str]) -> set[str]:
    """The assets that expressions name, as dbt and Dagster write them: ``NAME``, ``NAME+`` with what is made from it, ``+NAME`` with
    what it is made from; ``*`` stands for any text within a name (``raw/*``).

    Raises RainbowError, with a suggestion, for an expression that names none.
    """
    found: set[str] = set()
    for expression in (part for text in expressions for part in text.replace(",", " ").split()):
        name = expression.strip("+")
        matched = {one for one in assets() if Path(one).match(name)} if "*" in name else {name} & assets().keys()
        if not matched:
            raise RainbowError(f"there is no asset {name}: {_suggestion(name)}")
        found |= matched
        if expression.endswith("+"):
            found |= downstream(matched)
        if expression.startswith("+"):
            found |= upstream(matched)
    return found


def _suggestion(name: str) -> str:
    names = list(assets())
    by_last_part = {one.rpartition("/")[2]: one for one in names}
    close = get_close_matches(name, names, 1) or [by_last_part[m] for m in get_close_matches(name, by_last_part, 1)]
    return f"did you mean {close[0]}?" if close else "`rainbow partitions` lists them"


@lru_cache(maxsize=2)
def _assets(_dbt: str, drawn_by: str) -> dict[str, Asset]:
    return {one.name: one for one in _all(drawn_by)}


def _all(drawn_by: str) -> Iterator[Asset]:
    declared = {table.name: _hash(repr(table.columns)) for table in TABLES}
    for table in TABLES:
        yield Asset(f"lake/{table.name}", "extract", f"{table.description} Rows of the lake.", (), declared[table.name])
    for table in TABLES:
        yield Asset(f"raw/{table.name}", "load", f"{table.description} Rows of BigQuery.", (f"lake/{table.name}",), declared[table.name])
    models, versions = project.models(), project.versions()
    for name, origins in project.lineage().items():
        made_from = [_of_model(one) for one in origins if not one.startswith("raw.") or one.removeprefix("raw.") in declared]
        yield Asset(_of_model(name), "transform", models[name].description, tuple(made_from), versions[name])
    for name in (*DIMENSIONS, *VIEWS):
        columns = _hash(repr(sorted(models[name].columns.items())))
        yield Asset(f"olap/{name}", "publish", f"{models[name].description} As ClickHouse has it.", (_of_model(name),), columns)
    # what ClickHouse has of a dimension is all of it on any day; the model itself is told by day
    shown = (*(f"olap/{view}" for view in VIEWS if view not in OVER_ALL_DAYS), "dim_products")
    yield Asset(REPORT, "report", "The dashboards of a day on one page, with every day up to it.", shown, drawn_by, cumulative=True)


def _of_model(name: str) -> str:
    return f"batch/{name}" if name in VIEWS else name.replace("raw.", "raw/")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
